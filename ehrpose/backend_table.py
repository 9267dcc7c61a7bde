"""The engines that run exported networks, as data: what the command line, the checks, the docs and the tests all read.

``docs/deploy/engines.md`` is written from this table by ``tools/misc/write_engine_table.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

__all__ = ["BACKEND_TABLE", "PRECISIONS", "BackendInfo", "network_suffixes"]

#: Names of all precisions.
PRECISIONS = ("fp32", "fp16", "bf16", "int8")

# The zoo model with which each row is tried.
_SMOKE_MODEL = "ehrnet-small"


@dataclass(frozen=True)
class BackendInfo:
    """One engine.

    Attributes:
        name: Name in BACKENDS.
        title: Name for people.
        module: Module whose presence tells that the engine is installed.
        packages: What pip installs to run networks; empty: it comes with the device.
        suffixes: Endings of the files that it opens.
        precisions: Precision to how it is reached, float32 first.
        dtypes: Types of the input, the default first.
        layouts: Layouts of the input.
        decodes: Forms of the output, see ``DeployNetwork``.
        sizes: ``"any"``: the input may follow each photo; ``"shapes"``: one of several; ``"fixed"``: one.
        max_aspect: Long side over short of the longest input that follows a photo, where memory is laid out for it.
        source: What its files are made from: ``"onnx"``, or ``"pt2"``, a program of ``torch.export``.
        converter: Whether its files are made from the float32 network by a module of that name in
            ``ehrpose.deploy.export.converters``; else it runs the ONNX (or ``.pt2``) file itself.
        export_packages: What pip installs to export, besides the requirements of training and deploying.
        targets: Chips of which a file is for one, the default first; empty: it is for all.
        python: Oldest Python that it runs on.
        arm64: Whether there are wheels for 64-bit Arm Linux.
        device: What it computes on.
        not_run: Why it was never run here; empty: the tests run it.
    """

    name: str
    title: str
    module: str
    packages: Tuple[str, ...]
    suffixes: Tuple[str, ...]
    precisions: Dict[str, str]
    dtypes: Tuple[str, ...] = ("uint8", "float32")
    layouts: Tuple[str, ...] = ("NCHW", "NHWC")
    decodes: Tuple[str, ...] = ("none", "peaks")
    sizes: str = "any"
    max_aspect: float = 100.0
    source: str = "onnx"
    converter: bool = False
    export_packages: Tuple[str, ...] = ()
    targets: Tuple[str, ...] = ()
    python: str = "3.8"
    arm64: bool = True
    device: str = "CPU"
    not_run: str = ""

    @property
    def option(self) -> str:
        """Name on the command line."""
        return self.name.replace("_", "-")

    @property
    def pip_line(self) -> str:
        """The command that installs what runs its networks."""
        return f"pip install {' '.join(self.packages)}"

    def smoke_command(self, precision: str, work_dir: str = "work_dirs/engines") -> str:
        """Return the command that exports a zoo model for this engine, and checks it there against the model."""
        words = [f"python tools/deploy.py {_SMOKE_MODEL} --backend {self.option}"]
        if precision != "fp32":
            words.append(f"--precision {precision}")
        if precision == "int8":
            words.append("--calib-data data/coco/train2017")
        return " ".join([*words, f"--work-dir {work_dir}/{self.name}_{precision}"])


_TENSORRT = {
    "fp32": "float32",
    "fp16": "chosen when the engine is built (TensorRT 11: in the file)",
    "int8": "Q/DQ in the file",
}
_ROWS = (
    BackendInfo(
        "onnxruntime",
        "ONNX Runtime",
        "onnxruntime",
        ("onnxruntime",),
        (".onnx",),
        {"fp32": "float32", "int8": "Q/DQ in the file"},
        device="CPU, or that of an execution provider",
    ),
    BackendInfo(
        "openvino",
        "OpenVINO",
        "openvino",
        ("openvino",),
        (".xml", ".onnx"),
        {
            "fp32": "float32",
            "bf16": "arithmetic, chosen when the file is loaded",
            "fp16": "weights; arithmetic as the CPU supports",
            "int8": "by NNCF",
        },
    ),
    BackendInfo(
        "opencv",
        "OpenCV dnn",
        "cv2",
        ("opencv-python",),
        (".onnx",),
        {"fp32": "float32"},
    ),
    BackendInfo(
        "ncnn",
        "ncnn",
        "ncnn",
        ("ncnn",),
        (".param",),
        {"fp32": "float32 weights and arithmetic", "fp16": "float16 weights"},
        dtypes=("float32",),
        layouts=("NCHW",),
        decodes=("none",),
        converter=True,
        export_packages=("pnnx",),
    ),
    BackendInfo(
        "mnn",
        "MNN",
        "MNN",
        ("MNN",),
        (".mnn",),
        {"fp32": "float32 weights and arithmetic", "fp16": "float16 weights", "int8": "int8 weights"},
        converter=True,
    ),
    BackendInfo(
        "coreml",
        "Core ML",
        "coremltools",
        ("coremltools",),
        (".zip",),
        {"fp32": "float32", "fp16": "float16 weights and arithmetic", "int8": "int8 weights"},
        dtypes=("float32",),
        layouts=("NCHW",),
        decodes=("none",),
        source="pt2",
        converter=True,
        arm64=False,
        device="Apple's CPU, GPU, neural engine",
        not_run="no Mac at hand; converted here, and the program in the package computed by torch: make test-engines",
    ),
    BackendInfo(
        "rknn",
        "RKNN",
        "rknnlite",
        ("rknn-toolkit-lite2",),
        (".rknn",),
        {"fp16": "float16 weights and arithmetic", "int8": "by the toolkit"},
        dtypes=("float32",),
        layouts=("NCHW",),
        decodes=("none",),
        sizes="shapes",
        converter=True,
        export_packages=("rknn-toolkit2",),
        targets=("rk3588", "rk3576", "rk3568", "rk3566", "rk3562"),
        device="Rockchip's NPU",
        not_run="no such board at hand; its toolkit's simulator: make test-engines",
    ),
    BackendInfo(
        "torch",
        "torch.export",
        "torch",
        ("torch",),
        (".pt2",),
        {"fp32": "float32", "bf16": "autocast, chosen when the file is loaded"},
        source="pt2",
        python="3.10",
        device="CPU, CUDA",
    ),
    BackendInfo(
        "litert",
        "LiteRT",
        "ai_edge_litert",
        ("ai-edge-litert",),
        (".tflite",),
        {
            "fp32": "float32",
            "fp16": "weights; float32 arithmetic",
            "int8": "convolutions other than depthwise, by ai-edge-quantizer",
        },
        sizes="shapes",
        source="pt2",
        converter=True,
        export_packages=("litert-torch",),
        python="3.9",
    ),
    BackendInfo(
        "executorch",
        "ExecuTorch",
        "executorch",
        ("torch", "executorch"),
        (".pte",),
        {"fp32": "float32, XNNPACK", "int8": "static, XNNPACK"},
        max_aspect=2.5,
        source="pt2",
        converter=True,
        python="3.10",
    ),
    BackendInfo(
        "tensorrt",
        "TensorRT",
        "tensorrt",
        (),
        (".engine",),
        _TENSORRT,
        dtypes=("float32", "uint8"),
        sizes="shapes",
        device="NVIDIA GPU",
        not_run="no GPU at hand",
    ),
    BackendInfo(
        "tensorrt_rtx",
        "TensorRT-RTX",
        "tensorrt_rtx",
        (),
        (".engine",),
        {**_TENSORRT, "fp16": "float16 in the file"},
        dtypes=("float32", "uint8"),
        sizes="shapes",
        device="NVIDIA GPU",
        not_run="no GPU at hand; its builder runs on the CPU: make test-deploy",
    ),
)
#: Name to engine.
BACKEND_TABLE: Dict[str, BackendInfo] = {row.name: row for row in _ROWS}


def network_suffixes() -> Tuple[str, ...]:
    """Return the endings of exported networks' files, the one to open, of all engines."""
    return tuple(dict.fromkeys(suffix for info in BACKEND_TABLE.values() for suffix in info.suffixes))


def markdown_tables() -> str:
    """Return the tables of docs/deploy/engines.md: what each engine needs, what it can do, the commands that try it."""
    needs = ["| engine | backend | to run | to export, besides | Python | 64-bit Arm | runs on | tried |"]
    needs.append("|---" * 8 + "|")
    forms = ["| backend | files | precision | input | output | sizes |", "|---" * 6 + "|"]
    for info in BACKEND_TABLE.values():
        run = _code(" ".join(info.packages)) if info.packages else "comes with the device"
        export = _code(" ".join(info.export_packages)) if info.export_packages else ""
        needs.append(
            f"| {info.title} | `{info.option}` | {run} | {export} | {info.python} and newer | "
            f"{'wheels' if info.arm64 else 'no wheels'} | {info.device} | {info.not_run or 'here'} |"
        )
        files = ", ".join(map(_code, info.suffixes))
        precisions = "; ".join(f"`{name}` ({how})" for name, how in info.precisions.items())
        types = f"{', '.join(info.dtypes)}; {', '.join(info.layouts)}"
        outputs = ", ".join(_OUTPUTS[decode] for decode in info.decodes)
        forms.append(
            f"| `{info.option}` | {files} | {precisions} | {types} | {outputs} | {_SIZES[info.sizes]} |"
        )
    commands = [
        info.smoke_command(precision) for info in BACKEND_TABLE.values() for precision in info.precisions
    ]
    return "\n".join(
        [*needs, "", *forms, "", "Each row is tried by its command:", "", "```bash", *commands, "```"]
    )


_OUTPUTS = {"none": "maps", "peaks": "candidates"}
_SIZES = {"any": "any", "shapes": "several", "fixed": "one"}


def _code(text: str) -> str:
    return f"`{text}`"
