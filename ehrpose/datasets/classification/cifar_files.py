"""Reading the archives of CIFAR, in their binary and in their Python form, packed or not.

Layout: https://www.cs.toronto.edu/~kriz/cifar.html. The Python form is a pickle, which could run any code: only the
types that the authors' files consist of are made.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


class CifarKind(NamedTuple):
    """One of the two data sets.

    Attributes:
        number: 10 or 100, its classes.
        label_bytes: Bytes before the pixels of a binary record; the last one is the class.
        label_key: Key of the labels in the Python form.
        names_key: Key of the classes' names there.
        files: Split to the names of its files, without suffix.
        folder: Folder in the Python archive.
        binary_folder: Folder in the binary archive.
        meta: File of the names in the Python form.
        binary_meta: File of the names in the binary form.
    """

    number: int
    label_bytes: int
    label_key: bytes
    names_key: bytes
    files: Mapping[str, Sequence[str]]
    folder: str
    binary_folder: str
    meta: str
    binary_meta: str


KINDS = {
    "cifar10": CifarKind(
        10, 1, b"labels", b"label_names",
        {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
        "cifar-10-batches-py", "cifar-10-batches-bin", "batches.meta", "batches.meta.txt",
    ),
    "cifar100": CifarKind(
        100, 2, b"fine_labels", b"fine_label_names", {"train": ["train"], "test": ["test"]},
        "cifar-100-python", "cifar-100-binary", "meta", "fine_label_names.txt",
    ),
}  # fmt: skip
# What the authors' pickles consist of, under NumPy's names of then and now.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    """Makes arrays, lists, dicts, numbers and strings; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module, name)


def read_plain_pickle(content: bytes, source: str) -> dict[bytes, Any]:
    """Return the dict in a pickle of the Python form, without running any code.

    Raises:
        ValueError: It is damaged, no dict, or contains anything but plain data and arrays.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # pickle raises a dozen different ones for damaged files
        raise ValueError(f"{source} is not a file of CIFAR, or is damaged: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{source}: expected a dict, got {type(found).__name__}")
    return {key.encode() if isinstance(key, str) else key: value for key, value in found.items()}


def read_cifar(
    root: str | Path, kind: CifarKind, split: str
) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """Return the images of a split, (N, 32, 32, 3) uint8 BGR, their labels, and the names of the classes.

    Args:
        root: Folder with the archive, its content, or both.
        kind: One of KINDS.
        split: ``"train"`` or ``"test"``.

    Raises:
        FileNotFoundError: Neither archive nor content is there.
        ValueError: A file is damaged.
    """
    files, is_python = _open(Path(root), kind)
    if is_python:
        parts = [_python_part(files, name, kind) for name in kind.files[split]]
        names = _python_names(files, kind)
    else:
        parts = [_binary_part(files, f"{name}.bin", kind) for name in kind.files[split]]
        text = files.read(kind.binary_meta).decode("utf-8", "replace")
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != kind.number:
        raise ValueError(f"{files.place}: expected {kind.number} names of classes, got {len(names)}")
    pixels = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([numbers for _, numbers in parts])
    if labels.size and labels.max() >= kind.number:
        raise ValueError(f"{files.place}: expected classes below {kind.number}, got {labels.max()}")
    planes = pixels.reshape(-1, 3, _SIDE, _SIDE)[:, ::-1]
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels.tolist(), names


class _Files:
    """The files of one form: in a folder, or in an archive that is read as it is."""

    def __init__(self, place: Path, folder: str):
        self.place, self.folder = place, folder

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: It is not there.
            ValueError: The archive is damaged.
        """
        if self.place.is_dir():
            path = self.place / name
            if not path.is_file():
                raise FileNotFoundError(f"file not found: {path}")
            return path.read_bytes()
        try:
            with tarfile.open(self.place) as archive:
                member = archive.extractfile(f"{self.folder}/{name}")
                content = None if member is None else member.read()
        except KeyError:
            content = None
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{self.place} is damaged: {error}; download it again") from None
        if content is None:
            raise FileNotFoundError(f"{self.place} has no file {self.folder}/{name}")
        return content


def _open(root: Path, kind: CifarKind) -> tuple[_Files, bool]:
    """Return the files, and whether they are in the Python form; unpacked ones are preferred."""
    number = kind.number
    forms = [(kind.binary_folder, f"cifar-{number}-binary.tar.gz", False),
             (kind.folder, f"cifar-{number}-python.tar.gz", True)]  # fmt: skip
    for folder, _, is_python in forms:
        for place in (root / folder, root):
            if (place / (kind.meta if is_python else kind.binary_meta)).is_file():
                return _Files(place, folder), is_python
    for folder, archive, is_python in forms:
        if (root / archive).is_file():
            return _Files(root / archive, folder), is_python
    raise FileNotFoundError(
        f"CIFAR-{number} not found: expected {forms[0][1]} or {forms[1][1]}, or what is in them, in {root}; from "
        "https://www.cs.toronto.edu/~kriz/cifar.html"
    )


def _binary_part(files: _Files, name: str, kind: CifarKind) -> tuple[np.ndarray, np.ndarray]:
    content = files.read(name)
    record = kind.label_bytes + _PIXELS
    if not content or len(content) % record:
        raise ValueError(
            f"{files.place}: {name} has {len(content)} bytes, expected a multiple of {record}: copy it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, kind.label_bytes :], records[:, kind.label_bytes - 1].astype(np.int64)


def _python_part(files: _Files, name: str, kind: CifarKind) -> tuple[np.ndarray, np.ndarray]:
    source = f"{files.place}: {name}"
    found = read_plain_pickle(files.read(name), source)
    pixels: Any = found.get(b"data")
    labels: Any = found.get(kind.label_key)
    is_right = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (_PIXELS,)
    if not is_right or not isinstance(labels, list) or len(labels) != len(pixels):
        raise ValueError(
            f"{source}: expected b'data' (N, {_PIXELS}) uint8 and N numbers in {kind.label_key!r}, got "
            f"{sorted(map(str, found))}"
        )
    return pixels, np.asarray(labels, np.int64)


def _python_names(files: _Files, kind: CifarKind) -> tuple[str, ...]:
    found = read_plain_pickle(files.read(kind.meta), f"{files.place}: {kind.meta}")
    names = found.get(kind.names_key)
    return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names or ())
