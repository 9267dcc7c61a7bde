"""Batches that leave a data loader's worker in one piece.

torch sends each tensor of a batch in a shared file of its own. A batch has hundreds of small ones (points, tags, masks
of each photo), and opening their files takes longer than all the transforms.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

# Tensors begin at multiples of this many bytes, as torch aligns them.
_ALIGNMENT = 64
# Address of a tensor in the piece: first byte, bytes, type, shape.
_Place = tuple[int, int, torch.dtype, tuple[int, ...]]


class OnePiece:
    """Collate function whose batches a worker sends as one tensor and a description.

    What arrives equals what ``collate`` returned: its tensors are views of the one that was sent. In the main process
    (``num_workers=0``) nothing is done.

    Args:
        collate: Function that makes a batch of a list of items.
    """

    def __init__(self, collate: Callable[..., Any]):
        self.collate = collate

    def __call__(self, items: Sequence[Any]) -> Any:
        batch = self.collate(items)
        return batch if get_worker_info() is None else _Parcel(batch)


class _Parcel:
    """A batch that becomes itself again when it is unpickled."""

    def __init__(self, batch: Any):
        self.batch = batch

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        file = io.BytesIO()
        packer = _Packer(file)
        packer.dump(self.batch)
        return _unpack, (file.getvalue(), packer.piece())


class _Packer(pickle.Pickler):
    """Pickler that leaves out tensors of plain memory and remembers them."""

    def __init__(self, file: io.BytesIO):
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._places: dict[int, _Place] = {}
        self._tensors: list[Tensor] = []
        self._size = 0

    def persistent_id(self, value: Any) -> _Place | None:
        if type(value) is not Tensor or value.device.type != "cpu" or value.layout != torch.strided:
            return None
        if value.requires_grad or value.is_quantized or value.is_conj() or value.is_neg():
            return None
        if id(value) not in self._places:
            count = value.numel() * value.element_size()
            self._places[id(value)] = (self._size, count, value.dtype, tuple(value.shape))
            self._tensors.append(value)
            self._size += -(-count // _ALIGNMENT) * _ALIGNMENT
        return self._places[id(value)]

    def piece(self) -> Tensor:
        """Return the bytes of all tensors, in memory that other processes can map."""
        piece = torch.empty(0, dtype=torch.uint8)
        piece.set_(torch.UntypedStorage._new_shared(max(self._size, 1)))
        for value in self._tensors:
            first, count, _, _ = self._places[id(value)]
            if count:
                piece[first : first + count] = value.contiguous().reshape(-1).view(torch.uint8)
        return piece


class _Unpacker(pickle.Unpickler):
    """Unpickler that puts the tensors back."""

    def __init__(self, file: io.BytesIO, piece: Tensor):
        super().__init__(file)
        self._piece = piece
        self._made: dict[int, Tensor] = {}

    def persistent_load(self, place: _Place) -> Tensor:
        first, count, dtype, shape = place
        if not count:
            return torch.empty(shape, dtype=dtype)
        if first not in self._made:
            self._made[first] = self._piece[first : first + count].view(dtype).view(shape)
        return self._made[first]


def _unpack(description: bytes, piece: Tensor) -> Any:
    return _Unpacker(io.BytesIO(description), piece).load()
