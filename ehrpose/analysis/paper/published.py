"""What the paper prints in its Tables 1 to 5: EfficientHRNet, arXiv:2007.08090. No figure here was measured by us.

"GFLOPs" of the paper are multiply-adds as its counter counts them (``ehrpose.models.complexity``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """A pose estimator of the paper's tables; None where the paper prints nothing.

    Attributes:
        name: Its name.
        config: Our config, from the root of the repository; None: it is not part of ehrpose.
        model: Name of its weights in the model zoo.
        input_size: Side of the input, px.
        backbone: As printed.
        params: Millions of parameters.
        gflops: Billions of multiply-adds.
        test_dev: AP on COCO test-dev2017, one scale.
        test_dev_scales: The same, several scales.
        val: AP on COCO val2017.
        fps: Frames per second.
        device: Device of the frames per second.
        watts: Power that the paper divides by.
        efficiency: Accuracy-efficiency, AP x frames per second / watts.
    """

    name: str
    config: str | None = None
    model: str | None = None
    input_size: int | None = None
    backbone: str = ""
    params: float | None = None
    gflops: float | None = None
    test_dev: float | None = None
    test_dev_scales: float | None = None
    val: float | None = None
    fps: float | None = None
    device: str = ""
    watts: float | None = None
    efficiency: float | None = None


_NX = "Jetson Xavier NX"
_OURS = "configs/ehrnet"
_RIVALS = "configs/rivals"

SYSTEMS = (
    System(
        "OpenPose",
        params=25.94,
        gflops=160,
        test_dev=61.8,
    ),
    System(
        "Hourglass",
        config=f"{_RIVALS}/hourglass_coco-512.py",
        input_size=512,
        backbone="Hourglass",
        params=277.8,
        gflops=206.9,
        test_dev=56.6,
    ),
    System(
        "PersonLab",
        input_size=1401,
        backbone="ResNet-152",
        params=68.7,
        gflops=405.5,
        test_dev=66.5,
        test_dev_scales=68.7,
        val=66.5,
    ),
    System(
        "PifPaf",
        backbone="ResNet-152",
        test_dev=66.7,
    ),
    System(
        "HRNet",
        config=f"{_RIVALS}/hrnet-w32_coco-512.py",
        model="hrnet-w32",
        input_size=512,
        backbone="HRNet-W32",
        params=28.5,
        gflops=38.9,
        test_dev=64.1,
        val=64.4,
    ),
    System(
        "HigherHRNet",
        config=f"{_RIVALS}/higherhrnet-w32_coco-512.py",
        model="higherhrnet-w32",
        input_size=512,
        backbone="HRNet-W32",
        params=28.6,
        gflops=47.9,
        test_dev=66.4,
        val=67.1,
        fps=6.68,
        device=_NX,
        watts=15,
        efficiency=29.850,
    ),
    System(
        "HigherHRNet",
        config=f"{_RIVALS}/higherhrnet-w48_coco-640.py",
        model="higherhrnet-w48-640",
        input_size=640,
        backbone="HRNet-W48",
        params=63.8,
        gflops=154.3,
        test_dev=68.4,
        test_dev_scales=70.5,
        val=69.9,
    ),
    System(
        "Lightweight OpenPose",
        config=f"{_RIVALS}/lwopenpose_coco-368.py",
        model="lwopenpose",
        input_size=368,
        backbone="Dilated MobileNet",
        params=4.1,
        gflops=9.0,
        val=42.8,
        fps=26,
        device="NUC 6i7KYB",
        watts=45,
        efficiency=24.738,
    ),
    System(
        "EfficientHRNet H0",
        config=f"{_OURS}/h0_coco-512.py",
        model="h0",
        input_size=512,
        backbone="B0",
        params=23.3,
        gflops=25.6,
        test_dev=64.0,
        test_dev_scales=67.1,
        val=64.8,
        fps=22.95,
        device=_NX,
        watts=15,
        efficiency=99.144,
    ),
    System(
        "EfficientHRNet H-1",
        config=f"{_OURS}/h-1_coco-480.py",
        model="h-1",
        input_size=480,
        backbone="B-1",
        params=16,
        gflops=14.2,
        test_dev=59.1,
        test_dev_scales=62.3,
        val=59.2,
        fps=20.43,
        device=_NX,
        watts=15,
        efficiency=80.63,
    ),
    System(
        "EfficientHRNet H-2",
        config=f"{_OURS}/h-2_coco-448.py",
        model="h-2",
        input_size=448,
        backbone="B-2",
        params=10.3,
        gflops=7.7,
        test_dev=52.8,
        test_dev_scales=55.0,
        val=52.9,
        fps=24.53,
        device=_NX,
        watts=15,
        efficiency=86.492,
    ),
    System(
        "EfficientHRNet H-3",
        config=f"{_OURS}/h-3_coco-416.py",
        model="h-3",
        input_size=416,
        backbone="B-3",
        params=6.9,
        gflops=4.2,
        test_dev=44.5,
        test_dev_scales=45.5,
        val=44.8,
        fps=33.78,
        device=_NX,
        watts=15,
        efficiency=100.89,
    ),
    System(
        "EfficientHRNet H-4",
        config=f"{_OURS}/h-4_coco-384.py",
        model="h-4",
        input_size=384,
        backbone="B-4",
        params=3.7,
        gflops=2.1,
        test_dev=35.5,
        test_dev_scales=39.7,
        val=35.7,
        fps=50.96,
        device=_NX,
        watts=15,
        efficiency=121.273,
    ),
)


@dataclass(frozen=True)
class Scaling:
    """A row of Table 1: widths of the branches, and modules of the stages with 2, 3 and 4 branches."""

    phi: int
    input_size: int
    backbone: str
    widths: tuple[int, int, int, int]
    modules: tuple[int, int, int]


SCALING = (
    Scaling(0, 512, "B0", (32, 64, 128, 256), (1, 4, 3)),
    Scaling(-1, 480, "B-1", (26, 52, 103, 206), (1, 3, 3)),
    Scaling(-2, 448, "B-2", (21, 42, 83, 166), (1, 2, 3)),
    Scaling(-3, 416, "B-3", (17, 34, 67, 133), (1, 1, 3)),
    Scaling(-4, 384, "B-4", (14, 27, 54, 107), (1, 1, 2)),
)


@dataclass(frozen=True)
class Compact:
    """A row of Table 2: a compact EfficientNet on ImageNet and CIFAR-100; params in millions, top-1 in %.

    ``wrong``: a printed figure that is not the network's count; the table marks it.
    """

    phi: int
    input_size: int
    params: tuple[float, float]
    gflops: float
    top1: tuple[float, float]
    wrong: float | None = None

    @property
    def configs(self) -> tuple[str, str]:
        """Our configs for ImageNet and CIFAR-100, from the root of the repository."""
        name = f"configs/classification/b{self.phi}"
        return f"{name}_imagenet.py", f"{name}_cifar100.py"


COMPACT = (
    Compact(0, 224, (5.3, 4.1), 0.4, (75.0, 81.9)),
    Compact(-1, 195, (4.5, 3.5), 0.3, (73.8, 81.4)),
    Compact(-2, 170, (3.4, 2.5), 0.2, (71.3, 79.8)),
    Compact(-3, 145, (2.8, 1.9), 0.1, (68.5, 78.2)),
    Compact(-4, 128, (1.3, 1.3), 0.05, (65.6, 74.3), wrong=1.3),
)

# What the paper prints and what does not follow from it or its sources, by table.
NOTES = {
    2: "* B-4 has 2.056 M parameters on ImageNet; the paper's 1.3 M is its count for CIFAR-100. `--weights DIR` "
    "measures top-1 with DIR/b0_imagenet.pth and so on, or with the best checkpoints of the runs in DIR.",
    4: "42.8 of Lightweight OpenPose is on a subset of val2017; its project states 40 for the whole. "
    "The paper tested H-1 at 512 and H-3 at 448 px; its frames per second are of the network alone, FP16, TensorRT.",
    5: "The paper's watts are nameplate values, not measured. Lightweight OpenPose ran at 28 frames per second on the "
    "NUC according to its authors, whole pipeline; 26 is their figure for a desktop CPU.",
}
