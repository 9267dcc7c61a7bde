"""Teachers of pose networks: networks in ONNX files, of any framework, cut at the maps that are wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ehrpose.registry import MODELS


class _Cut(NamedTuple):
    """A graph, its input's name and type, and the channels of its outputs."""

    graph: bytes
    input: str
    dtype: Any
    channels: list[int]


@MODELS.register_module()
class OnnxTeacher:
    """Maps inside a network that is stored as ONNX, computed by ONNX Runtime on the CPU.

    The graph is cut behind the wanted tensors, so a decoder after them costs nothing, and its batch axis is freed.

    Args:
        file: The ONNX file, with one input, an image of free height and width.
        outputs: Names of tensors of the graph, each (B, C, h, w).
        layout: ``"nchw"`` or ``"nhwc"``, of the input.
        mean: Mean of the input's channels, 0 to 255, one or three numbers.
        std: Standard deviation of the input's channels, positive, one or three numbers.
        bgr: The input is BGR instead of RGB.
        channels: Channels of each output. The file is then opened when training begins, so that the model can be built
            for inference where it is absent; None: it is opened at once, and says so itself.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not ONNX, it has more than one input, lacks a tensor of ``outputs``, or these have other
            ``channels``.
    """

    def __init__(
        self,
        file: str | os.PathLike,
        outputs: Sequence[str],
        layout: str = "nchw",
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        bgr: bool = False,
        channels: Sequence[int] | None = None,
    ):
        if layout not in ("nchw", "nhwc"):
            raise ValueError(f"layout must be 'nchw' or 'nhwc', got {layout!r}")
        self.file, self.outputs, self.layout, self.bgr = Path(file), list(outputs), layout, bgr
        if not self.outputs:
            raise ValueError("expected at least one name in outputs, got none")
        self._mean = torch.as_tensor(mean, dtype=torch.float32).reshape(-1, 1, 1)
        self._std = torch.as_tensor(std, dtype=torch.float32).reshape(-1, 1, 1)
        self._cut: _Cut | None = None
        self._session: Any = None
        self.channels = self._opened().channels if channels is None else list(channels)

    def _opened(self) -> _Cut:
        if self._cut is None:
            self._cut = _cut(self.file, self.outputs, self.layout)
        return self._cut

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the maps, float32, each (B, C, h, w), of (B, 3, H, W) RGB images, 0 to 255."""
        cut = self._opened()
        if cut.channels != self.channels:
            raise ValueError(f"{self.file}: expected {self.channels} channels of outputs, got {cut.channels}")
        pixels = (images.detach().float().cpu() - self._mean) / self._std
        if self.bgr:
            pixels = pixels.flip(1)
        if self.layout == "nhwc":
            pixels = pixels.permute(0, 2, 3, 1)
        array = pixels.numpy()
        if np.issubdtype(cut.dtype, np.integer):
            array = np.rint(array)
        array = np.ascontiguousarray(array, dtype=cut.dtype)
        maps = self._run(cut, array)
        return [torch.from_numpy(values).float().to(images.device) for values in maps]

    def _run(self, cut: _Cut, array: np.ndarray) -> list[np.ndarray]:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            # Torch computes between two calls: threads that wait by spinning would take its cores.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._session = onnxruntime.InferenceSession(
                cut.graph, options, providers=["CPUExecutionProvider"]
            )
        return self._session.run(self.outputs, {cut.input: array})

    def __getstate__(self) -> dict[str, Any]:
        # A session cannot be copied; it is made again on first use.
        return {**self.__dict__, "_session": None}


def _cut(file: Path, outputs: Sequence[str], layout: str) -> _Cut:
    """Return the graph up to the outputs."""
    if not file.is_file():
        raise FileNotFoundError(f"no such teacher: {file}")
    import onnx

    try:
        model = onnx.load(str(file))
    except Exception as error:  # protobuf's own error types
        raise ValueError(f"{file} is not an ONNX file: {str(error).splitlines()[0]}") from error
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ValueError(f"{file}: expected one input, got {len(inputs)}")
    made = {name for node in graph.node for name in node.output}
    missing = [name for name in outputs if name not in made]
    if missing:
        raise ValueError(f"{file} has no tensor {missing[0]!r}: list them with a viewer such as Netron")
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    shape = inputs[0].type.tensor_type.shape
    for axis in (0, *((1, 2) if layout == "nhwc" else (2, 3))):
        shape.dim[axis].dim_param = f"axis{axis}"
    kinds = onnx.TensorProto.FLOAT
    cut = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes[::-1],
            "teacher",
            inputs,
            [onnx.helper.make_tensor_value_info(name, kinds, None) for name in outputs],
            [tensor for tensor in graph.initializer if tensor.name in needed],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
    channels = _channels(cut, file, outputs, layout, dtype)
    return _Cut(cut.SerializeToString(), inputs[0].name, dtype, channels)


def _channels(model: Any, file: Path, outputs: Sequence[str], layout: str, dtype: Any) -> list[int]:
    """Return the number of channels of each output, of a black image."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    side = 64
    black = np.zeros((1, side, side, 3) if layout == "nhwc" else (1, 3, side, side), dtype)
    maps = session.run(list(outputs), {session.get_inputs()[0].name: black})
    flat = [name for name, values in zip(outputs, maps) if values.ndim != 4]
    if flat:
        raise ValueError(f"{file}: tensor {flat[0]!r} is no map: expected 4 axes, (B, C, h, w)")
    return [values.shape[1] for values in maps]
