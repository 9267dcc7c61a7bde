"""What can be exported, and what is."""

from __future__ import annotations

from dataclasses import dataclass

from ehrpose.deploy.export.onnx import DEFAULT_OPSET

# What each backend's files can be. Float16 is a matter of building for TensorRT up to 10, and of the file from 11 on.
PRECISIONS = {
    "onnxruntime": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "torch": ("fp32", "bf16"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "tensorrt_rtx": ("fp32", "fp16", "int8"),
}


@dataclass(frozen=True)
class ExportOptions:
    """What is exported.

    Attributes:
        backend: A key of PRECISIONS.
        precision: One that the backend has there.
        input_wh: Width and height of the input, px; None: a square of the codec's input size.
        batch_size: Images at once.
        dynamic_batch: Any number of images at once.
        opset: Version of ONNX's operators.
        input_dtype: ``"uint8"`` or ``"float32"``; None: what the backend takes without a detour.
        layout: ``"NCHW"`` or ``"NHWC"``.
        decode: ``"none"`` or ``"peaks"``, see ``DeployNetwork``.
        typed: For TensorRT from 11 on: float16 is written into the file.
        calib_data: Folder of photos for int8.
        max_calib_images: The most of them that are used.
        half_range: int8 with weights of 7 bits, for x86 processors without VNNI: their sums of 16 bits saturate.
    """

    backend: str = "onnxruntime"
    precision: str = "fp32"
    input_wh: tuple[int, int] | None = None
    batch_size: int = 1
    dynamic_batch: bool = False
    opset: int = DEFAULT_OPSET
    input_dtype: str | None = None
    layout: str = "NCHW"
    decode: str = "none"
    typed: bool = False
    calib_data: str | None = None
    max_calib_images: int = 64
    half_range: bool = False

    def __post_init__(self) -> None:
        if self.backend not in PRECISIONS:
            raise ValueError(f"wanted a backend of {list(PRECISIONS)}, got {self.backend}")
        if self.precision not in PRECISIONS[self.backend]:
            raise ValueError(
                f"wanted a precision of {PRECISIONS[self.backend]} for {self.backend}, got {self.precision}"
            )
        if self.precision == "int8" and (self.calib_data is None or self.max_calib_images < 1):
            raise ValueError(
                "int8 needs calibration photos similar to those it will see: give a folder of a few dozen with "
                "`calib_data`"
            )
        if self.half_range and (self.precision != "int8" or self.for_tensorrt):
            raise ValueError(
                "`half_range` is for int8 of onnxruntime and openvino on x86 processors without VNNI, "
                f"got precision {self.precision} of {self.backend}"
            )

    @property
    def for_tensorrt(self) -> bool:
        """Whether the file must suit TensorRT."""
        return self.backend.startswith("tensorrt")

    @property
    def dtype(self) -> str:
        """Type of the input."""
        return self.input_dtype or ("float32" if self.for_tensorrt else "uint8")
