"""ONNX files that hold no weights of their own but read them from the checkpoint beside them.

ONNX lets a file keep its weights in another one, at any offset, and torch stores each tensor uncompressed: so the
network that a zoo model is run by without torch adds a few hundred kilobytes, and the weights, float16 as published,
exist once. The batch norms stay in the file; ONNX Runtime casts the weights and folds the norms when it loads it.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ehrpose.deploy.sidecar import DeployError

# Local header of a file in a zip archive: its fixed part, and where the lengths of name and extra field are.
_HEADER, _LENGTHS = 30, slice(26, 30)
_FLOAT, _FLOAT16 = 1, 10  # onnx.TensorProto's numbers
_STORAGES = {"HalfStorage": (_FLOAT16, 2), "FloatStorage": (_FLOAT, 4)}
_NORM = ("weight", "bias", "running_mean", "running_var")


class Place(NamedTuple):
    """Where a checkpoint stores a tensor: byte offset, bytes, ONNX type and shape."""

    offset: int
    length: int
    kind: int
    shape: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """Reads which tensors a checkpoint has; nothing in it is imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, start, shape, strides, *_: (storage, start, shape, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name.endswith("Storage"):
            return name
        raise DeployError(f"expected published weights, which hold tensors only, got {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def places_of(checkpoint: Path) -> dict[str, Place]:
    """Return where a checkpoint written by ``tools/misc/publish_model.py`` stores each float tensor of its state dict.

    Raises:
        DeployError: It is no such file.
    """
    content = checkpoint.read_bytes()
    places = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        state = _Reader(io.BytesIO(archive.read(record))).load()["state_dict"]
        for key, ((_, storage, number, *_rest), start, shape, strides) in state.items():
            if storage not in _STORAGES:
                continue
            kind, size = _STORAGES[storage]
            member = archive.getinfo(f"{record[: -len('data.pkl')]}data/{number}")
            if member.compress_type != zipfile.ZIP_STORED or tuple(strides) != _dense(shape):
                raise DeployError(
                    f"{checkpoint}: {key} is not stored as it is used: publish the weights again"
                )
            lengths = content[member.header_offset : member.header_offset + _HEADER][_LENGTHS]
            first = member.header_offset + _HEADER + sum(struct.unpack("<HH", lengths))
            count = _product(shape)
            places[key] = Place(first + start * size, count * size, kind, tuple(shape))
    return places


def share_weights(content: bytes, folded: Mapping[str, tuple[str, float]], checkpoint: Path) -> bytes:
    """Return an exported network that reads its weights from ``checkpoint``, which must lie beside it.

    Args:
        content: The ONNX file, with batch norms folded.
        folded: Name of each convolution to the name and epsilon of the batch norm that was folded into it.
        checkpoint: The weights that it was exported from.

    Raises:
        DeployError: The checkpoint is not a published one, or lacks a tensor.
    """
    import onnx

    model = onnx.load_from_string(content)
    writer = _Writer(places_of(checkpoint), checkpoint.name)
    own = {item.name: item for item in model.graph.initializer}
    nodes, kept = [], []
    for node in model.graph.node:
        conv = node.input[1].rpartition(".")[0] if len(node.input) > 1 else ""
        if node.op_type in ("Conv", "ConvTranspose") and conv in folded:
            nodes += writer.unfolded(node, conv, *folded[conv])
            continue
        for index, name in enumerate(node.input):
            if name in own and writer.has(name, own[name].dims):
                node.input[index] = writer.tensor(name)
            elif name in own and own[name] not in kept:
                kept.append(own[name])
        nodes.append(node)
    _replace(model.graph.node, [*writer.casts, *nodes])
    _replace(model.graph.initializer, [*writer.tensors, *kept])
    return bytes(model.SerializeToString())


class _Writer:
    """Collects the tensors that are read from the checkpoint, and the casts of those in float16."""

    def __init__(self, places: Mapping[str, Place], location: str):
        self.places, self.location = places, location
        self.tensors: list[Any] = []
        self.casts: list[Any] = []
        self._names: dict[str, str] = {}

    def has(self, name: str, shape: Any) -> bool:
        return name in self.places and self.places[name].shape == tuple(shape)

    def tensor(self, key: str) -> str:
        """Return the name of a tensor of the checkpoint as float32."""
        import onnx

        if key in self._names:
            return self._names[key]
        if key not in self.places:
            raise DeployError(
                f"{self.location}: {key} is missing: expected the weights that the network was exported from"
            )
        place = self.places[key]
        item = onnx.TensorProto(
            name=key, data_type=place.kind, dims=place.shape, data_location=onnx.TensorProto.EXTERNAL
        )
        for name, value in (("location", self.location), ("offset", place.offset), ("length", place.length)):
            item.external_data.add(key=name, value=str(value))
        self.tensors.append(item)
        self._names[key] = key
        if place.kind != _FLOAT:
            self._names[key] = f"{key}.float32"
            self.casts.append(onnx.helper.make_node("Cast", [key], [self._names[key]], to=_FLOAT))
        return self._names[key]

    def unfolded(self, node: Any, conv: str, norm: str, epsilon: float) -> list[Any]:
        """Return a convolution with the weights of the checkpoint, and its batch norm."""
        import onnx

        node.input[1] = self.tensor(f"{conv}.weight")
        del node.input[2:]
        if f"{conv}.bias" in self.places:
            node.input.append(self.tensor(f"{conv}.bias"))
        output = node.output[0]
        node.output[0] = f"{output}.before_norm"
        inputs = [node.output[0], *(self.tensor(f"{norm}.{part}") for part in _NORM)]
        return [node, onnx.helper.make_node("BatchNormalization", inputs, [output], epsilon=epsilon)]


def _replace(field: Any, items: list[Any]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]
    field.extend(copies)


def _product(shape: Any) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


def _dense(shape: Any) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor."""
    return tuple(_product(shape[axis + 1 :]) for axis in range(len(shape)))
