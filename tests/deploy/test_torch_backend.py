from __future__ import annotations

import contextlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
import torch

from ehrpose.deploy.backends import TorchBackend
from ehrpose.deploy.pipeline import compare_with_model
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, file_hash, read_sidecar
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.predictors import open_predictor
from ehrpose.structures import Maps, PeakMaps

VARIANTS = {
    "plain": {},
    "wide": {"input_wh": (192, 128)},
    "any number at once, float, NHWC": {"dynamic_batch": True, "input_dtype": "float32", "layout": "NHWC"},
}
# Exported and opened three times as fast as inputs of any size.
FIXED_SIZE = {"input_wh": (64, 64)}


@pytest.fixture
def small(exported_small, tmp_path_factory):
    """Export the small network for torch, to files of the test's own."""

    def run(**options):
        done = exported_small(backend="torch", **options)
        folder = tmp_path_factory.mktemp("torch")
        shutil.copytree(done.path.parent, folder, dirs_exist_ok=True)
        return done._replace(path=folder / done.path.name)

    return run


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_file_gives_the_models_maps(small, lively_model, options):
    done = small(**options)
    assert done.path.name == "end2end.pt2"
    assert read_sidecar(done.path).backend == "torch"
    errors = compare_with_model(done.path, "torch", lively_model, [np.full((70, 90, 3), 90, np.uint8)])
    assert errors["map_error"] < 1e-5
    with PoseRuntime(done.path, num_threads=1, trust_pt2=True) as runtime:
        assert isinstance(runtime.run(runtime.prepare(np.zeros((8, 8, 3), np.uint8))[0][None]), Maps)


def test_candidates_leave_the_file_as_from_onnx(small, exported_small, rng):
    photo = rng.integers(0, 256, (64, 64, 3), np.uint8)
    onnx = exported_small(**FIXED_SIZE, decode="peaks")
    with (
        PoseRuntime(small(**FIXED_SIZE, decode="peaks").path, trust_pt2=True) as ours,
        PoseRuntime(onnx.path) as theirs,
    ):
        pixels = ours.prepare(photo)[0][None]
        a, b = ours.run(pixels), theirs.run(pixels)
        assert isinstance(a, PeakMaps)
        np.testing.assert_array_equal(a.peak_pixels, b.peak_pixels)
        np.testing.assert_allclose(a.peak_scores, b.peak_scores, atol=1e-5)
        np.testing.assert_allclose(ours(photo).keypoints, theirs(photo).keypoints, atol=1e-2)


def test_bfloat16_is_measured_and_chosen_when_loaded(small):
    done = small(**FIXED_SIZE, precision="bf16")
    assert "maps off by" in done.report
    assert read_sidecar(done.path).precision == "bf16"
    full = PoseRuntime(done.path, precision="fp32", trust_pt2=True)
    with PoseRuntime(done.path, trust_pt2=True) as half, full:
        pixels = half.prepare(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[0][None]
        a, b = half.run(pixels).heat2, full.run(pixels).heat2
    assert a.dtype == b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.1 * np.abs(b).max()


def test_bfloat16_is_compared_on_the_users_photos(small, tmp_path):
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((64, 80, 3), np.uint8))
    assert "in 2 images" in small(**FIXED_SIZE, precision="bf16", calib_data=str(tmp_path)).report


def test_runs_without_the_code_of_the_model(small):
    path = small(**FIXED_SIZE).path
    code = (
        "import sys; sys.modules['ehrpose.models'] = None; import numpy as np\n"
        "from ehrpose.deploy.runtime import PoseRuntime\n"
        f"print(len(PoseRuntime({str(path)!r}, trust_pt2=True)(np.zeros((9, 9, 3), np.uint8)).scores))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().isdigit()


def test_mistakes_are_named(small, tmp_path):
    path = small(**FIXED_SIZE).path
    with pytest.raises(DeployError, match="`device` 'cuda:77' cannot be used"):
        PoseRuntime(path, device="cuda:77", trust_pt2=True)
    with pytest.raises(ValueError, match="precision must be"):
        PoseRuntime(path, precision="int4", trust_pt2=True)
    with pytest.raises(DeployError, match=r"torch runs .pt2 files"):
        PoseRuntime(path.rename(path.with_suffix(".onnx")), "torch", trust_pt2=True)
    runtime = PoseRuntime(small(**FIXED_SIZE).path, trust_pt2=True)
    runtime.close()
    with pytest.raises(DeployError, match="was closed"):
        runtime(np.zeros((8, 8, 3), np.uint8))


def test_a_file_that_torch_cannot_read(small):
    path = small(**FIXED_SIZE).path
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DeployError, match=r"hash|damaged|changed"):
        PoseRuntime(path, trust_pt2=True)
    with pytest.raises(DeployError, match="export it again"):
        PoseRuntime(path, check_hashes=False, trust_pt2=True)


def test_torch_not_installed_says_how(small, monkeypatch):
    path = small(**FIXED_SIZE).path
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DeployError, match="pip install torch"):
        PoseRuntime(path, trust_pt2=True)


def test_threads_are_torchs(small):
    before = torch.get_num_threads()
    try:
        PoseRuntime(small(**FIXED_SIZE).path, num_threads=1, trust_pt2=True)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class _Marker:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def with_marker(path, marker):
    """Let the first weight of an exported program be a pickle that makes the file ``marker``."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    place = next(name for name in parts if name.endswith("weights_config.json"))
    config = json.loads(parts[place])
    payload = next(iter(config["config"].values()))
    payload["use_pickle"] = True
    parts[place] = json.dumps(config).encode()
    baited = next(name for name in parts if name.endswith(f"/{payload['path_name']}"))
    buffer = io.BytesIO()
    torch.save(_Marker(marker), buffer)
    parts[baited] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    sidecar = read_sidecar(path, check_hashes=False)
    sidecar.sha256 = {path.name: file_hash(path)}
    sidecar.write(path)


@pytest.mark.parametrize("build", [PoseRuntime, PoseInferencer, open_predictor, TorchBackend])
def test_a_program_runs_only_if_it_is_trusted(small, tmp_path, build):
    path, marker = small(**FIXED_SIZE).path, tmp_path / "code_ran"
    with_marker(path, marker)
    for options in ({}, {"trust_pt2": False}):
        with pytest.raises(DeployError, match=r"is a program, .*pass `trust_pt2=True`"):
            build(path, **options)
        assert not marker.exists()
    with contextlib.suppress(DeployError):  # that there was something to be afraid of
        build(path, trust_pt2=True)
    assert marker.exists()


def test_the_command_line_asks_for_trust(small, tmp_path):
    path, marker, photo = small(**FIXED_SIZE).path, tmp_path / "code_ran", tmp_path / "a.png"
    cv2.imwrite(str(photo), np.zeros((32, 32, 3), np.uint8))
    command = [sys.executable, "-m", "ehrpose", "predict", str(photo), "--out-dir", str(tmp_path / "out")]
    trusted = subprocess.run(
        [*command, "--model", str(path), "--trust-pt2"], capture_output=True, text=True, check=False
    )
    assert trusted.returncode == 0, trusted.stderr
    with_marker(path, marker)
    refused = subprocess.run([*command, "--model", str(path)], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "is a program" in line
    assert "pass --trust-pt2" in line
    assert not marker.exists()
