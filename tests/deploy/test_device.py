"""A device that the backend of an exported file does not run on is refused, not ignored."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.predictors import open_predictor

CPU_BACKENDS = {"onnxruntime": r"the CPU \(CPUExecutionProvider\)", "openvino": "the CPU"}


@pytest.mark.parametrize("device", ["cuda:0", "cuda", "nonsense", "cpu:1", ""])
@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_backends_of_the_cpu_refuse_other_devices(exported, backend, device):
    pytest.importorskip(backend)
    path = exported()
    message = (
        rf"{backend} runs end2end\.onnx on {CPU_BACKENDS[backend]}: expected `device` 'cpu' or none, got '{device}'; "
        "export it for the backend tensorrt or torch for a GPU"
    )
    for build in (PoseRuntime, PoseInferencer, open_predictor):
        with pytest.raises(DeployError, match=message):
            build(path, backend=backend, device=device)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_backends_of_the_cpu_accept_its_names(exported, backend):
    pytest.importorskip(backend)
    for device in (None, "cpu", "cpu:0"):
        with PoseRuntime(exported(), backend, device=device) as runtime:
            assert runtime.backend.device == "cpu"


def test_torch_files_run_on_the_device_or_say_why_not(exported_small):
    path = exported_small(backend="torch", input_wh=(64, 64)).path
    for device in ("cuda:77", "nonsense"):
        with pytest.raises(DeployError, match=f"`device` '{device}' cannot be used"):
            open_predictor(path, device=device, trust_pt2=True)
    predictor = open_predictor(path, device="cpu", trust_pt2=True)
    assert predictor.runtime.backend.device == "cpu"
    assert len(predictor.predict([np.zeros((9, 9, 3), np.uint8)])) == 1


def test_the_command_line_ends_with_one_line(exported, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    command = [
        sys.executable,
        "-m",
        "ehrpose",
        "predict",
        str(tmp_path / "a.png"),
        "--model",
        str(exported()),
    ]
    command += ["--device", "cuda:0", "--out-dir", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "expected --device 'cpu' or none, got 'cuda:0'" in line
    assert not (tmp_path / "out").exists()
