"""A file that is not a checkpoint is named for what it is; torch's advice to load it unsafely is never passed on."""

from __future__ import annotations

import io
import pickle
import re
import tarfile
import traceback
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from ehrpose.models.weights.checkpoint import read_checkpoint, read_state_dict

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 10160909\n"
ADVICE = re.compile(r"weights_only|torch\.load|safe_globals|trusted source|PyTorch 2\.6", re.IGNORECASE)


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return buffer.getvalue()


def numpy_archive():
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.ones(2))
    return buffer.getvalue()


def script():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 2, 1), torch.ones(1, 3, 4, 4)), buffer)
    return buffer.getvalue()


def torch_file():
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(200)}, buffer)
    return buffer.getvalue()


def safetensors_file():
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is optional")
    return safetensors.save({"a": torch.ones(2)})


KINDS = {
    "pointer": (lambda: LFS, r"is a Git-LFS pointer \(13\d bytes\), .* git lfs pull"),
    "git-annex": (lambda: b"/annex/objects/SHA256E-s1--ab.pth\n", "is a git-annex pointer .* git annex get"),
    "web page": (
        lambda: b"<!DOCTYPE html><html><title>404</title></html>",
        "is a web page, it begins with '<!DOCTYPE html><html><title>404.*: download the file itself",
    ),
    "web page after space": (lambda: b"\xef\xbb\xbf\n  <HTML lang='en'>", "is a web page"),
    "web page in UTF-16": (lambda: "<html>é</html>".encode("utf-16"), "is a web page"),
    "XHTML": (lambda: b'<?xml version="1.0"?>\n<html xmlns="x">', "is a web page"),
    "answer of a server": (lambda: b"404: Not Found", "is text, it begins with '404: Not Found'"),
    "JSON": (lambda: b'{"message": "Not Found"}\n', 'is text, it begins with \'{"message"'),
    "text with accents": (lambda: "é".encode() * 1000, "is text"),
    "empty": (lambda: b"", r"is empty \(0 bytes\)"),
    "zeros": (lambda: bytes(4096), "begins with nothing but zeros"),
    "safetensors": (safetensors_file, r"is a safetensors file: rename it to a\.safetensors"),
    "zip": (
        lambda: zipped(**{"word/a.xml": "x", "b": ""}),
        r"is a zip archive with word/a\.xml, b, expected",
    ),
    "zip of nothing": (lambda: zipped(a=""), "is a zip archive with a, expected"),
    "zip of weights": (
        lambda: zipped(**{"README": "x", "run/best.pth": b"x"}),
        r"is a zip archive that contains run/best\.pth: unpack it",
    ),
    "NumPy archive": (numpy_archive, r"is a NumPy archive \(\.npz\)"),
    "TorchScript": (script, r"is a TorchScript model, expected weights"),
    "exported program": (
        lambda: zipped(**{"m/archive_format": "pt2", "m/data/x": ""}),
        r"is an exported program \(\.pt2\): pass it as the model",
    ),
    "cut zip": (lambda: torch_file()[:-40], r"is truncated or damaged \(\d+ bytes\)"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(30), "is a gzip archive: unpack it"),
    "tar": (tarred, "is a tar archive: unpack it"),
    "Keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(30), "is an HDF5 file"),
    "photo": (lambda: b"\xff\xd8\xff\xe0" + bytes(30), "is a JPEG image"),
    "ONNX": (lambda: b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "is an ONNX model: pass it as the model"),
    "other bytes": (lambda: b"\x9b\x00\xff\x01" * 50, "is not a checkpoint, or is truncated"),
}


@pytest.mark.parametrize("name", ["a.pth", "a.ckpt"])
@pytest.mark.parametrize(("content", "message"), KINDS.values(), ids=KINDS)
def test_a_file_is_named_for_what_it_is(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content())
    with pytest.raises(ValueError, match=message) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f"{path} ")
    assert len(str(error.value).splitlines()) == 1
    assert not ADVICE.search("".join(traceback.format_exception(error.value)).split(str(path), 1)[1])


@pytest.mark.parametrize("kind", ["pointer", "web page", "empty", "zip", "gzip"])
def test_also_under_the_name_of_safetensors(tmp_path, kind):
    pytest.importorskip("safetensors", reason="safetensors is optional")
    content, message = KINDS[kind]
    (tmp_path / "a.safetensors").write_bytes(content())
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_torch_file_under_the_name_of_safetensors(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is optional")
    (tmp_path / "a.safetensors").write_bytes(torch_file())
    with pytest.raises(ValueError, match=r"is a file of torch\.save: rename it to a\.pth"):
        read_checkpoint(tmp_path / "a.safetensors")


class OwnClass:
    pass


REFUSED = {
    "class": lambda: OwnClass(),
    "function": lambda: print,
    "set": lambda: {1, 2},
    "bytes": lambda: bytearray(b"x"),
    "array of objects": lambda: np.array([OwnClass()], dtype=object),
}


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_torchs_advice_is_not_passed_on(tmp_path, value, form):
    path, content = tmp_path / "a.pth", {"state_dict": {"weight": torch.ones(1), "x": value()}}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ValueError, match=r"a\.pth (is|contains) ") as error:
        read_state_dict(path)
    shown = "".join(traceback.format_exception(error.value)).split("ValueError: ", 1)[1]
    assert not ADVICE.search(shown)
