"""A file that stands in place of an exported network or its description is named for what it is."""

from __future__ import annotations

import json

import pytest

from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, Sidecar, file_hash, read_sidecar

KINDS = {
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 10160909\n",
        r"is a Git-LFS pointer \(13\d bytes\), not the file itself: fetch that with git lfs pull",
    ),
    "git-annex": (b"/annex/objects/SHA256E-s1--ab.onnx\n", "is a git-annex pointer"),
    "web page": (b"\n<!DOCTYPE html><html><title>404</title></html>", "is a web page, it begins with"),
    "XHTML": (b'<?xml version="1.0"?>\n<html xmlns="x">', "is a web page"),
    "empty": (b"", r"is empty \(0 bytes\): copy or download it again"),
    "zeros": (bytes(4096), "begins with nothing but zeros"),
}
SUFFIXES = {
    ".onnx": "onnxruntime",
    ".xml": "openvino",
    ".engine": "tensorrt",
    ".plan": "tensorrt",
    ".pt2": "torch",
}


@pytest.fixture
def network(tmp_path):
    """Write what looks like an exported network; return its file."""

    def write(suffix):
        path = tmp_path / f"end2end{suffix}"
        parts = [path, path.with_suffix(".bin")] if suffix == ".xml" else [path]
        for part in parts:
            part.write_bytes(
                b'<?xml version="1.0"?>\n<net name="a"/>' if part.suffix == ".xml" else b"\x08\x07net"
            )
        Sidecar(
            name="a",
            backend=SUFFIXES[suffix],
            precision="fp32",
            input={"shape": [1, 3, 32, 32], "dtype": "uint8", "layout": "NCHW", "color": "BGR"},
            outputs={"heat4": [1, 5, 8, 8], "tag4": [1, 5, 8, 8]},
            codec={"type": "Own"},
            sha256={part.name: file_hash(part) for part in parts},
        ).write(path)
        return path

    return write


@pytest.mark.parametrize(("content", "message"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_in_place_of_any_file_of_a_network(network, suffix, content, message):
    path = network(suffix)
    assert read_sidecar(path).name == "a"
    for part in sorted(path.parent.iterdir()):
        whole = part.read_bytes()
        part.write_bytes(content)
        with pytest.raises(DeployError, match=f"{part.name} {message}") as error:
            read_sidecar(path)
        assert len(str(error.value).splitlines()) == 1
        part.write_bytes(whole)


def test_a_pointer_without_a_description(tmp_path):
    (tmp_path / "a.onnx").write_bytes(KINDS["pointer"][0])
    with pytest.raises(DeployError, match=r"a\.onnx is a Git-LFS pointer"):
        PoseRuntime(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([], "the whole: expected an object, got \\[\\]"),
        (
            {"codec": None},
            "codec: expected an object of 0 to 100 keys, got null",
        ),
        ({"sha256": ["a"]}, r"sha256: expected an object of 1 to 16 keys, got \[\"a\"\]"),
        ({"backend": 5}, r"backend: expected one of \"onnxruntime\", .*, got 5"),
    ],
)
def test_values_of_another_kind_in_a_description(network, change, message):
    path = network(".onnx")
    sidecar = path.with_name(path.name + ".json")
    content = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**content, **change} if change else change))
    with pytest.raises(DeployError, match=message) as error:
        read_sidecar(path)
    assert len(str(error.value).splitlines()) == 1
