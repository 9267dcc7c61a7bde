"""A device that the backend of an exported file does not run on is refused, not ignored."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.predictors import RuntimePredictor, open_predictor


@pytest.mark.parametrize("device", ["cuda:0", "cuda", "nonsense", "cpu:1", ""])
def test_openvino_refuses_other_devices_than_the_cpu(exported, device):
    pytest.importorskip("openvino")
    path = exported()
    message = (
        rf"openvino runs end2end\.onnx on the CPU: expected `device` 'cpu' or none, got '{device}'; "
        "export it for the backend tensorrt or torch for a GPU"
    )
    for build in (PoseRuntime, PoseInferencer, open_predictor):
        with pytest.raises(DeployError, match=message):
            build(path, backend="openvino", device=device)


@pytest.mark.parametrize("device", ["nonsense", "cpu:1", ""])
def test_onnxruntime_refuses_unknown_devices(exported, device):
    path = exported()
    message = rf"one of cpu, cuda, tensorrt, .* some with a number \(cuda:0\), got '{device}'"
    for build in (PoseRuntime, PoseInferencer, open_predictor):
        with pytest.raises(DeployError, match=message):
            build(path, backend="onnxruntime", device=device)


@pytest.mark.parametrize(
    ("device", "provider", "package"),
    [
        ("cuda:0", "CUDAExecutionProvider", "onnxruntime-gpu"),
        ("tensorrt", "TensorrtExecutionProvider", "onnxruntime-gpu"),
        ("openvino:GPU", "OpenVINOExecutionProvider", "onnxruntime-openvino"),
        ("directml:1", "DmlExecutionProvider", "onnxruntime-directml"),
        ("qnn", "QNNExecutionProvider", "onnxruntime-qnn"),
    ],
)
def test_a_provider_that_is_not_installed_is_named_with_its_package(exported, device, provider, package):
    onnxruntime = pytest.importorskip("onnxruntime")
    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"{provider} is installed")
    message = (
        rf"has no {provider}, only .*CPUExecutionProvider.*: pip install {package}, .*CPUExecutionProvider"
    )
    with pytest.raises(DeployError, match=message):
        PoseRuntime(exported(), "onnxruntime", device=device)


class Session:
    """Stands for ONNX Runtime with a GPU: what it is opened with, and which providers it says that it has."""

    def __init__(self, works=True):
        self.works = works

    def __call__(self, path, options, providers):
        self.options, self.asked = options, providers
        self.providers = [p if isinstance(p, str) else p[0] for p in providers]
        return self

    def get_providers(self):
        return self.providers if self.works else ["CPUExecutionProvider"]

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in ("heat4", "tag4", "heat2")]

    def get_inputs(self):
        return [SimpleNamespace(name="input")]


@pytest.fixture
def gpu_machine(monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    installed = ["CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: installed)

    def with_session(session):
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        return session

    return with_session


def test_devices_become_providers_with_the_cpu_behind_them(exported, gpu_machine):
    path, session = exported(), gpu_machine(Session())
    with PoseRuntime(path, device="cuda:1") as runtime:
        assert session.asked == [("CUDAExecutionProvider", {"device_id": "1"}), "CPUExecutionProvider"]
        assert runtime.backend.device == "cuda:1"
        assert runtime.backend.providers == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    PoseRuntime(path, device="openvino:GPU").close()
    assert session.asked[0] == ("OpenVINOExecutionProvider", {"device_type": "GPU"})
    PoseRuntime(
        path, providers=[("CUDAExecutionProvider", {"arena_extend_strategy": "kSameAsRequested"})]
    ).close()
    assert session.asked[0][1] == {"arena_extend_strategy": "kSameAsRequested"}
    with pytest.raises(ValueError, match="expected a device or a list of providers, got both"):
        PoseRuntime(path, device="cpu", providers=["CUDAExecutionProvider"])


def test_the_device_is_part_of_the_name_that_is_shown(exported, gpu_machine):
    path = exported()
    gpu_machine(Session())
    names = []
    for device in (None, "cuda:1"):
        predictor = RuntimePredictor(path, device=device)
        names.append(predictor.name)
        predictor.close()
    assert names[0].endswith(" onnxruntime fp32")
    assert names[1] == f"{names[0]} on cuda:1"


def test_a_provider_that_does_not_start_is_an_error(exported, gpu_machine):
    gpu_machine(Session(works=False))
    with pytest.raises(
        DeployError, match=r"could not start CUDAExecutionProvider .* on CPUExecutionProvider"
    ):
        PoseRuntime(exported(), device="cuda")


def test_threads_follow_the_containers_share(exported, gpu_machine, monkeypatch):
    path, session = exported(), gpu_machine(Session())
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("ehrpose.threads.machine_cores", lambda: 64)
    monkeypatch.setattr("ehrpose.threads.available_cores", lambda: 3)
    PoseRuntime(path).close()
    assert session.options.intra_op_num_threads == 3
    PoseRuntime(path, num_threads=2).close()
    assert session.options.intra_op_num_threads == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    PoseRuntime(path).close()
    assert session.options.intra_op_num_threads == 5


@pytest.mark.parametrize(
    ("policy", "entries"),
    [("passive", {"allow_spinning": "0"}), ("active", {}), ("", {"spin_duration_us": "20"})],
)
def test_threads_spin_as_long_as_openmps_policy_says(exported, gpu_machine, monkeypatch, policy, entries):
    path, session = exported(), gpu_machine(Session())
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    PoseRuntime(path).close()
    for name in ("allow_spinning", "spin_duration_us"):
        key = f"session.intra_op.{name}"
        if name in entries:
            assert session.options.get_session_config_entry(key) == entries[name]
        else:
            with pytest.raises(RuntimeError, match=name):
                session.options.get_session_config_entry(key)


@pytest.mark.parametrize(("threads", "is_free"), [(1, True), (3, True), (4, False), (None, False)])
def test_openvinos_threads_stay_free_to_move_unless_they_are_for_all_cores(
    exported, monkeypatch, threads, is_free
):
    """Several processes with a thread each would be bound to the same core, and take turns on it."""
    pytest.importorskip("openvino")
    from ehrpose.deploy.backends import openvino

    monkeypatch.setattr(openvino, "machine_cores", lambda: 4)
    monkeypatch.setattr(openvino, "default_threads", lambda: None)
    with PoseRuntime(exported(), "openvino", num_threads=threads) as runtime:
        compiled = next(iter(runtime.backend._instances.values())).compiled
        if is_free:
            assert compiled.get_property("ENABLE_CPU_PINNING") is False
        assert ("ENABLE_CPU_PINNING" in runtime.backend._settings) is is_free


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
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
    assert "runs on CPUExecutionProvider with --device 'cpu' or none" in line
    assert not (tmp_path / "out").exists()
