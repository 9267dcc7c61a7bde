"""How programs take the C++ decoder in: CMake, compiler flags, the examples of the docs, photos with OpenVINO."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from decoder_program import CPP, compile_program, run_program

from ehrpose.model_zoo import find_model

NETWORK = find_model("ehrnet-small").checkpoint.with_suffix(".onnx")


def openvino_options():
    """Return the option for CMake with which it finds pip's OpenVINO, none without it."""
    try:
        from openvino.utils import get_cmake_path
    except ImportError:
        return []
    return [f"-DOpenVINO_DIR={get_cmake_path()}"]


@pytest.fixture(scope="module")
def built(compiler, tmp_path_factory):
    """The folder in which CMake has built the library and the examples, warnings being errors."""
    if shutil.which("cmake") is None:
        pytest.skip("building the examples needs cmake")
    folder = tmp_path_factory.mktemp("build")
    configure = ["cmake", "-S", CPP, "-B", folder, "-DCMAKE_CXX_COMPILER=g++", "-DCMAKE_CXX_FLAGS=-Werror"]
    for command in ([*configure, *openvino_options()], ["cmake", "--build", folder]):
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr or result.stdout
    return folder


def test_cmake_builds_what_needs_nothing_else(built, tmp_path):
    result = run_program(built / "decode_tensors", f"{NETWORK}.json")
    assert (result.returncode, result.stderr) == (2, "error: expected heat4=FILE\n")


def test_a_photo_becomes_people(built, tmp_path, coco_keypoints):
    """Photo to people without Python: the photo is interpolated otherwise, which moves people by little."""
    pytest.importorskip("openvino", reason="openvino is in the extra 'deploy'")
    import cv2

    from ehrpose.datasets.synthetic import SyntheticPeople
    from ehrpose.deploy.runtime import PoseRuntime

    scenes = SyntheticPeople(
        coco_keypoints, length=1, image_size=448, num_people=(2, 2), serialize_data=False
    )
    photo = scenes.get_data_info(0)["img"][:400]
    path = tmp_path / "photo.ppm"
    cv2.imwrite(str(path), photo)
    result = run_program(built / "openvino_photo", NETWORK, path)
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    with PoseRuntime(NETWORK, "openvino", num_threads=1) as runtime:
        people = runtime(photo)
    assert len(printed) == len(people) > 0
    apart = np.linalg.norm(np.array([person["keypoints"] for person in printed]) - people.keypoints, axis=2)
    assert np.median(apart) < 0.5
    missing = run_program(built / "openvino_photo", NETWORK, tmp_path / "none.ppm")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "none.ppm: expected a file that can be read" in missing.stderr


def test_the_program_of_the_docs_compiles_without_rtti(compiler, tmp_path):
    page = (CPP.parent / "docs/deploy/cpp.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```cpp\n(.*?)```", page, re.S)
    source = tmp_path / "program.cpp"
    source.write_text(code, encoding="utf-8")
    program = compile_program(tmp_path / "program", source, "-O0", "-fno-rtti")
    result = run_program(program, f"{NETWORK}.json")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "0 people\n"


def test_the_benchmark_compares_the_forms(program, tmp_path, monkeypatch, capsys):
    from ehrpose.analysis.codec import cpp_benchmark

    with pytest.raises(
        FileNotFoundError, match=r"decode_tensors\.cpp not found: it is part of the repository"
    ):
        cpp_benchmark.build_program(tmp_path, tmp_path, "g++")
    with pytest.raises(FileNotFoundError, match=r"compiler not found: nosuch-compiler"):
        cpp_benchmark.build_program(CPP, tmp_path, "nosuch-compiler")
    monkeypatch.setattr(cpp_benchmark, "build_program", lambda *arguments: program)
    cpp_benchmark.print_cpp_benchmark(NETWORK, CPP, [2], [128], 2, "g++")
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[3] for row in rows][-2:] == ["Python, NumPy", "C++"]
    assert {(row[0], row[1]) for row in rows} == {("2", "128")}
    assert all(float(row[4]) > 0 for row in rows)
    assert rows[-1][5] == "1.0"


def test_usage_and_wrong_options(program, tmp_path):
    assert run_program(program).returncode == 2
    assert run_program(program, "--help").stdout.startswith("usage: decode_tensors SIDECAR")
    for arguments, message in (
        (["--photo", "640"], "--photo: expected WIDTHxHEIGHT, got 640"),
        ([f"{NETWORK}.json", "heat4"], "expected NAME=FILE, got heat4"),
        ([f"{NETWORK}.json", "--rounds", "0"], "--rounds: expected a number from 1 to 100000"),
        ([f"{NETWORK}.json", "heat4=nosuch.npy"], "nosuch.npy: expected a file that can be read"),
        (["nosuch.json"], "nosuch.json: expected a file that can be read"),
        ([str(tmp_path)], f"{tmp_path}: expected"),
    ):
        result = run_program(program, *arguments)
        assert result.returncode == 2
        assert result.stderr.startswith(f"error: {message}"), result.stderr
