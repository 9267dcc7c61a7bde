"""Export options, and the precisions of each backend."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ehrpose.backend_table import BACKEND_TABLE, BackendInfo, network_suffixes
from ehrpose.deploy.export.onnx import DEFAULT_OPSET

DEFAULT_NAME = "end2end"
# Letters of any language, digits and a few signs: valid in file names everywhere, and needs no quotes in commands.
_NAME = re.compile(r"\w[\w.+-]*")
_SUFFIXES = (*network_suffixes(), ".bin", ".json")


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        backend: A key of BACKEND_TABLE.
        precision: One of the backend's precisions.
        input_wh: Width and height of a fixed input, px, into which photos are letterboxed. None: each photo's own
            shape, as in the config's test; for TensorRT, ``shapes_wh`` of 3:2 and 2:3.
        shapes_wh: Widths and heights, px, of which the best is chosen for each photo; instead of ``input_wh``.
        batch_size: Batch size.
        dynamic_batch: Allow any batch size.
        opset: ONNX opset version.
        input_dtype: ``"uint8"`` or ``"float32"``; None: the engine's first.
        layout: ``"NCHW"`` or ``"NHWC"``.
        decode: ``"none"`` or ``"peaks"``, see ``DeployNetwork``.
        typed: For TensorRT from 11 on: float16 is written into the file.
        calib_data: Folder of photos to calibrate int8 on; on them the people of any lower precision are compared with
            those in float32. None: on the photos that the export is checked with.
        max_calib_images: Maximum number of these photos.
        name: Name of the files, without folder and suffix.
        target: Chip that an engine's file is for, one of ``BackendInfo.targets``; None: the first.
        half_range: int8 with 7-bit weights, for x86 processors without VNNI, whose 16-bit sums saturate.
    """

    backend: str = "onnxruntime"
    precision: str = "fp32"
    input_wh: tuple[int, int] | None = None
    shapes_wh: tuple[tuple[int, int], ...] = ()
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
    target: str | None = None
    name: str = DEFAULT_NAME

    def __post_init__(self) -> None:
        if self.backend not in BACKEND_TABLE:
            raise ValueError(f"expected a backend in {list(BACKEND_TABLE)}, got {self.backend}")
        self._check_engine()
        if self.precision == "int8" and (self.calib_data is None or self.max_calib_images < 1):
            raise ValueError(
                "int8 needs calibration images similar to the deployment data: pass a folder with a few dozen images "
                "with `calib_data`"
            )
        if self.shapes_wh and self.input_wh is not None:
            raise ValueError(
                f"expected one fixed size or several to choose from, got both: {self.input_wh} and {self.shapes_wh}"
            )
        for size_wh in (*self.shapes_wh, *([] if self.input_wh is None else [self.input_wh])):
            # What no network takes; `input_form` knows what this one takes.
            if min(size_wh) < 32 or any(side % 8 and side % 16 != 1 for side in size_wh):
                width, height = size_wh
                raise ValueError(f"expected an input size in multiples of 32 px, got {width} x {height}")
        if not _NAME.fullmatch(self.name) or self.name.endswith((*_SUFFIXES, ".")):
            raise ValueError(
                "expected `name` to be a file name of letters, digits, '.', '_', '+' and '-', without folder and "
                f"suffix (such as {DEFAULT_NAME!r}; the folder is `work_dir`), got {self.name!r}"
            )
        if self.half_range and (self.precision != "int8" or self.for_tensorrt):
            raise ValueError(
                "`half_range` is for int8 with onnxruntime and openvino on x86 processors without VNNI, "
                f"got precision {self.precision} with {self.backend}"
            )

    def _check_engine(self) -> None:
        """Refuse what the engine does not do."""
        info = self.info
        for name, allowed in (
            ("precision", tuple(info.precisions)),
            ("input_dtype", (None, *info.dtypes)),
            ("layout", info.layouts),
            ("decode", info.decodes),
            ("target", (None, *info.targets)),
        ):
            if getattr(self, name) not in allowed:
                expected = _alternatives(allowed) or "none"
                raise ValueError(
                    f"`{name}`: expected {expected} for {self.backend}, got {getattr(self, name)}"
                )

    @property
    def info(self) -> BackendInfo:
        """What is known about the engine."""
        return BACKEND_TABLE[self.backend]

    @property
    def for_tensorrt(self) -> bool:
        """Whether the file is for TensorRT."""
        return self.backend.startswith("tensorrt")

    @property
    def dtype(self) -> str:
        """Type of the input."""
        return self.input_dtype or self.info.dtypes[0]

    @property
    def chip(self) -> str:
        """The chip that the file is for, "" if it is for all."""
        return self.target or "".join(self.info.targets[:1])


def _alternatives(allowed: tuple[str | None, ...]) -> str:
    return " or ".join(word for word in allowed if word is not None)
