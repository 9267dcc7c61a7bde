"""Reading the weights of a TensorFlow Lite file: names, shapes and values, dequantised; nothing is executed.

Source: the FlatBuffers binary format and TensorFlow Lite's schema, version 3 (identifier TFL3). The fields that are
read have had their places since the schema's first release.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_LAYER = re.compile(r"([^/]+)/(?:weights|Conv2D|depthwise)[^/]*(?:/FakeQuantWithMinMaxVars)?$")
_IDENTIFIER = b"TFL3"
_MAX_BYTES = 1 << 30
# Types by their number in the schema; the others (text, complex and packed numbers) hold no weights.
_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 4: "<i8", 6: "?", 7: "<i2", 9: "i1", 10: "<f8"}


class TfliteTensor(NamedTuple):
    """A constant of the graph.

    Attributes:
        name: Its name.
        values: float32 values, in the file's axes.
        scale: Step of its quantisation, the largest if each channel has its own; 0 if it is not quantised.
    """

    name: str
    values: np.ndarray
    scale: float


def is_tflite(filename: str | os.PathLike) -> bool:
    """Whether there is a file that begins as a TensorFlow Lite model."""
    path = Path(filename)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == _IDENTIFIER


def read_tflite(filename: str | os.PathLike) -> dict[str, TfliteTensor]:
    """Read the constants of a file's only graph, by name.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a TensorFlow Lite file of one graph, is damaged, or a type is not supported.
    """
    path = Path(filename)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint not found: {path}")
    if not is_tflite(path):
        raise ValueError(f"{path} is not a TensorFlow Lite file: expected the identifier TFL3 at byte 4")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: expected at most {_MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        return {tensor.name: tensor for tensor in _constants(path.read_bytes())}
    except (struct.error, IndexError, UnicodeDecodeError, _DamagedError) as error:
        raise ValueError(f"{path} is truncated or damaged ({error}): copy or download it again") from None


def network_tensors(filename: str | os.PathLike) -> dict[str, Tensor]:
    """Return the weights of a file's convolutions as torch stores them, called ``LAYER.weight`` and ``LAYER.bias``.

    Layers are called as in TensorFlow, without the scopes around them. Kernels (O, H, W, I), and (1, H, W, C) of
    depthwise convolutions, become (O, I, H, W) and (C, 1, H, W).

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: As from ``read_tflite``.
    """
    tensors = {}
    for name, (_, values, _) in read_tflite(filename).items():
        layer = _LAYER.search(name)
        if layer is None:
            tensors[name] = torch.from_numpy(values)
        elif values.ndim == 4:
            depthwise = len(values) == 1 and layer[1].endswith("depthwise")
            axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
            tensors[f"{layer[1]}.weight"] = torch.from_numpy(np.ascontiguousarray(values.transpose(axes)))
        else:
            tensors[f"{layer[1]}.bias"] = torch.from_numpy(values)
    return tensors


class _DamagedError(Exception):
    """A position or a length does not fit into the file."""


class _Table:
    """A FlatBuffers table: fields are found through its list of offsets."""

    def __init__(self, data: bytes, position: int):
        self.data, self.position = data, position
        self.fields = position - self._int("<i", position)
        if not 0 <= self.fields < len(data) - 4:
            raise _DamagedError("a table lies outside of the file")

    def _int(self, form: str, position: int) -> int:
        if position < 0:
            raise _DamagedError("a position lies outside of the file")
        return int(struct.unpack_from(form, self.data, position)[0])

    def _field(self, number: int) -> int:
        """Return the position of a field, 0 if the table has none."""
        place = 4 + 2 * number
        if place + 2 > self._int("<H", self.fields):
            return 0
        offset = self._int("<H", self.fields + place)
        return self.position + offset if offset else 0

    def number(self, number: int, form: str) -> int:
        """Return a field that is a number; 0 if absent."""
        position = self._field(number)
        return self._int(form, position) if position else 0

    def table(self, number: int) -> _Table | None:
        """Return a field that is a table; None if absent."""
        position = self._field(number)
        return _Table(self.data, position + self._int("<I", position)) if position else None

    def array(self, number: int, dtype: str) -> np.ndarray:
        """Return a field that is a vector of numbers; empty if absent."""
        position = self._field(number)
        if not position:
            return np.zeros(0, dtype)
        start = position + self._int("<I", position)
        count = self._int("<I", start)
        if count * np.dtype(dtype).itemsize > len(self.data) - start - 4:
            raise _DamagedError("a vector is longer than the file")
        return np.frombuffer(self.data, dtype, count, start + 4)

    def tables(self, number: int) -> list[_Table]:
        """Return a field that is a vector of tables."""
        position = self._field(number)
        if not position:
            return []
        places = self.array(number, "<u4")
        first = position + self._int("<I", position) + 4
        return [_Table(self.data, first + 4 * i + int(offset)) for i, offset in enumerate(places)]


def _constants(data: bytes) -> Iterator[TfliteTensor]:
    (root,) = struct.unpack_from("<I", data, 0)
    model = _Table(data, root)
    graphs, buffers = model.tables(2), model.tables(4)
    if len(graphs) != 1:
        raise _DamagedError(f"expected one graph, got {len(graphs)}")
    for tensor in graphs[0].tables(0):
        index = tensor.number(2, "<I")
        content = buffers[index].array(0, "u1")
        if not content.size:
            continue
        name = tensor.array(3, "u1").tobytes().decode()
        shape = tuple(int(side) for side in tensor.array(0, "<i4"))
        dtype = _DTYPES.get(tensor.number(1, "<b"))
        if dtype is None:
            raise _DamagedError(f"{name} has a type that is not supported")
        if (
            int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize != content.size
            or min(shape, default=1) < 0
        ):
            raise _DamagedError(f"{name} has {content.size} bytes, expected those of shape {shape}")
        values = content.view(dtype).reshape(shape)
        yield _dequantised(name, values, tensor.table(4))


def _dequantised(name: str, values: np.ndarray, quantisation: _Table | None) -> TfliteTensor:
    scales = quantisation.array(2, "<f4").astype(np.float64) if quantisation else np.zeros(0)
    if not scales.size:
        return TfliteTensor(name, values.astype(np.float32), 0.0)
    zeros = quantisation.array(3, "<i8") if quantisation else np.zeros(0, np.int64)
    zeros = zeros if zeros.size else np.zeros(scales.size, np.int64)
    axis = quantisation.number(6, "<i") if quantisation else 0
    if zeros.size != scales.size or (scales.size > 1 and values.shape[axis : axis + 1] != (scales.size,)):
        raise _DamagedError(f"{name} has {scales.size} scales and {zeros.size} zero points")
    form = [1] * values.ndim
    if scales.size > 1:
        form[axis] = scales.size
    else:
        scales, zeros = scales[:1], zeros[:1]
    exact = (values.astype(np.float64) - zeros.reshape(form)) * scales.reshape(form)
    return TfliteTensor(name, exact.astype(np.float32), float(scales.max()))
