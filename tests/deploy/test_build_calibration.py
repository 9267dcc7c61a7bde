"""Calibration of int8 engines, on recording fakes."""

from __future__ import annotations

import numpy as np
import pytest
from build_machine import WEAK, photos
from fake_tensorrt import CONVOLUTION, QUANTIZE, write_onnx

from ehrpose.deploy.sidecar import DeployError
from ehrpose.image_io import IMAGE_SUFFIXES


@pytest.mark.parametrize("release", WEAK)
def test_calibration_shows_each_photo_once(machine, release, capsys):
    machine.use(release)
    machine.build(precision="int8", calib_data=str(photos(machine, broken=1)))
    assert machine.flags() == ["FP16", "INT8"]
    assert "trtexec" not in capsys.readouterr().out  # trtexec cannot calibrate on photos
    shown = [(size, np.frombuffer(content, np.float32).tolist()) for size, content in machine.trt.calibration]
    assert shown == [(1, [float(number)] * 4) for number in (1, 2, 3)]
    assert (machine.cudart.alive, machine.cudart.wrong) == ({}, [])


def test_calibration_is_not_done_with_qdq(machine):
    onnx = write_onnx(machine.folder, [QUANTIZE, CONVOLUTION])
    machine.build(onnx, precision="int8", calib_data=str(photos(machine)))
    assert machine.calls("IBuilderConfig.int8_calibrator =") == []


def test_calibration_that_fails(machine):
    folder = machine.folder / "photos"
    build = {"precision": "int8", "calib_data": str(folder)}
    with pytest.raises(DeployError, match="folder of calibration images not found"):
        machine.build(**build)
    folder.mkdir()
    with pytest.raises(DeployError, match=r"expected at least 1 image .*, got 0"):
        machine.build(**build)
    photos(machine, broken=2, whole=0)
    with pytest.raises(DeployError, match=r"no batch of .* could be used: cannot read photo .*0\.jpg"):
        machine.build(**build)
    photos(machine)
    machine.use()
    machine.cudart.fail["cudaMemcpyAsync"] = (2, 700)
    with pytest.raises(
        DeployError, match=r"calibration with .* failed: cudaMemcpyAsync failed with CUDA error 700"
    ):
        machine.build(**build)
    assert machine.cudart.alive == {}
    assert machine.files() == ["end2end.onnx", "end2end.onnx.json", "photos"]


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_calibration_takes_every_kind_of_photo(machine, suffix):
    folder = machine.folder / f"kind_{suffix[1:]}"
    (folder / "sub").mkdir(parents=True)
    for number in range(2):
        (folder / "sub" / f"{number}{suffix.upper()}").write_bytes(b"")
    with pytest.raises(DeployError, match=r"no batch of .* could be used: .* the file is empty"):
        machine.build(precision="int8", calib_data=str(folder))
