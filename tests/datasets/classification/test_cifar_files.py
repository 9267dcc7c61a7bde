"""CIFAR from the authors' archives, in both forms, and files that are not theirs."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from ehrpose.datasets.classification import Cifar10, Cifar100

NAMES = {"cifar10": [f"c{i}" for i in range(10)], "cifar100": [f"c{i}" for i in range(100)]}


def pixels(number=4):
    """Images whose red is their index, green the row, blue the column, as planes."""
    images = np.zeros((number, 3, 32, 32), np.uint8)
    images[:, 0] = np.arange(number)[:, None, None]
    images[:, 1] = np.arange(32)[:, None]
    images[:, 2] = np.arange(32)
    return images.reshape(number, -1)


def python_files(kind):
    """Name to content of the Python form, as Python 2 wrote it: keys and strings are bytes."""
    data = {b"data": pixels()}
    if kind == "cifar10":
        batches = {f"data_batch_{i}": {**data, b"labels": [i, 2, 3, 9]} for i in range(1, 6)}
        batches["test_batch"] = {**data, b"labels": [5, 2, 3, 9]}
        batches["batches.meta"] = {b"label_names": [n.encode() for n in NAMES[kind]]}
    else:
        labels = {b"fine_labels": [7, 2, 3, 99], b"coarse_labels": [1, 1, 1, 1]}
        batches = {"train": {**data, **labels}, "test": {**data, **labels}}
        batches["meta"] = {b"fine_label_names": [n.encode() for n in NAMES[kind]]}
    return {name: pickle.dumps(content, protocol=2) for name, content in batches.items()}


def binary_files(kind):
    names = "\n".join(NAMES[kind]).encode() + b"\n\n"
    if kind == "cifar10":
        parts = [bytes([label]) + image.tobytes() for label, image in zip([7, 2, 3, 9], pixels())]
        files = {f"data_batch_{i}.bin": b"".join(parts) for i in range(1, 6)}
        return {**files, "test_batch.bin": b"".join(parts), "batches.meta.txt": names}
    parts = [bytes([1, label]) + image.tobytes() for label, image in zip([7, 2, 3, 99], pixels())]
    return {"train.bin": b"".join(parts), "test.bin": b"".join(parts), "fine_label_names.txt": names}


def write(folder, files, archive, inside):
    """Write files into a folder ``inside``, or into an archive of that name."""
    if archive is None:
        (folder / inside).mkdir()
        for name, content in files.items():
            (folder / inside / name).write_bytes(content)
        return
    with tarfile.open(folder / archive, "w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("is_packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_both_forms_packed_or_not(tmp_path, kind, form, is_packed):
    number = kind.removeprefix("cifar")
    files = (python_files if form == "python" else binary_files)(kind)
    folders = {"cifar10": ("cifar-10-batches-py", "cifar-10-batches-bin"),
               "cifar100": ("cifar-100-python", "cifar-100-binary")}  # fmt: skip
    inside = folders[kind][form == "binary"]
    write(tmp_path, files, f"cifar-{number}-{form}.tar.gz" if is_packed else None, inside)
    cls = Cifar10 if kind == "cifar10" else Cifar100
    train, test = cls(tmp_path), cls(tmp_path, split="test")
    assert (len(train), len(test)) == ((20, 4) if kind == "cifar10" else (4, 4))
    assert list(train.metainfo["classes"]) == NAMES[kind]
    item = train[1]
    assert item["gt_label"] == 2
    # BGR: blue is the column, green the row, red the index.
    assert item["img"][3, 5].tolist() == [5, 3, 1]
    assert [train[i]["gt_label"] for i in range(4)][2:] == [3, 9 if kind == "cifar10" else 99]


class Evil:
    def __reduce__(self):
        return os.system, ("echo ran > ran.txt",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({b"data": Evil()}), r"refers to (posix|nt)\.system"),
        (pickle.dumps(np.zeros(3))[:40], "is damaged"),
        (b"", "is damaged"),
        (pickle.dumps([1]), "expected a dict, got list"),
        (pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"fine_labels": [1, 2]}), r"expected b'data'"),
        (pickle.dumps({b"data": pixels(), b"fine_labels": [1, 2]}), "N numbers in b'fine_labels'"),
    ],
    ids=["code", "cut", "empty", "list", "shape", "count"],
)
def test_other_pickles_are_refused_and_run_nothing(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {**python_files("cifar100"), "train": content}, None, "cifar-100-python")
    with pytest.raises(ValueError, match=message):
        Cifar100(tmp_path)
    assert not (tmp_path / "ran.txt").exists()


def test_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected cifar-100-binary\.tar\.gz or .*python\.tar\.gz"):
        Cifar100(tmp_path)
    with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
        Cifar100(tmp_path, split="val")
    files = binary_files("cifar100")
    write(tmp_path, {**files, "train.bin": files["train.bin"][:-1]}, None, "cifar-100-binary")
    with pytest.raises(ValueError, match=r"train\.bin has 12295 bytes, expected a multiple of 3074"):
        Cifar100(tmp_path)
    (tmp_path / "cifar-100-binary/test.bin").write_bytes(bytes([1, 100]) + bytes(3072))
    with pytest.raises(ValueError, match="classes below 100, got 100"):
        Cifar100(tmp_path, split="test")


def test_a_damaged_archive_is_named(tmp_path):
    write(tmp_path, binary_files("cifar10"), "cifar-10-binary.tar.gz", "cifar-10-batches-bin")
    whole = (tmp_path / "cifar-10-binary.tar.gz").read_bytes()
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"binary\.tar\.gz is damaged.*download it again"):
        Cifar10(tmp_path)
