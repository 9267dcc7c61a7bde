"""Included models run without torch, and give the people that torch gives."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ehrpose.deploy.export.parity import compare_people
from ehrpose.deploy.pipeline import drawn_scene
from ehrpose.deploy.sidecar import DeployError, read_sidecar
from ehrpose.inferencers import zoo_form
from ehrpose.inferencers.predictors import RuntimePredictor, TorchPredictor, open_predictor
from ehrpose.inferencers.zoo_form import network_or_name
from ehrpose.model_zoo import find_model, list_models

pytest.importorskip("onnxruntime")
INCLUDED = [model.short_name for model in list_models() if model.checkpoint is not None]


@pytest.mark.parametrize("name", INCLUDED)
def test_the_files_belong_together_and_are_small(name):
    model = find_model(name)
    sidecar = read_sidecar(model.network)
    assert sidecar.sha256[model.checkpoint.name] == model.sha256
    assert model.network.stat().st_size + model.checkpoint.stat().st_size < 16e6


@pytest.mark.parametrize("name", INCLUDED)
def test_people_equal_torchs(name):
    with_torch, without = open_predictor(name, backend="torch"), open_predictor(name, device="cpu")
    assert isinstance(with_torch, TorchPredictor)
    assert isinstance(without, RuntimePredictor)
    photos = [drawn_scene(without.meta, size_wh) for size_wh in ((480, 320), (240, 400))]
    found = 0
    for ours, wanted in zip(without.predict(photos), with_torch.predict(photos)):
        assert len(ours) == len(wanted)
        found += len(wanted)
        assert compare_people(ours, wanted) < 0.5
        np.testing.assert_allclose(ours.scores, wanted.scores, atol=1e-3)
    assert found > 0


def test_options_that_only_torch_has_choose_it(monkeypatch):
    model = find_model("ehrnet-small")

    def chosen(device=None, backend=None, **options):
        return network_or_name(model, "ehrnet-small", device, backend, options)

    monkeypatch.setattr(zoo_form, "has_nvidia", lambda: False)
    assert chosen() == chosen("cpu") == chosen(mode="paper", num_threads=1, flip_test=False) == model.network
    for options in ({"flip_test": True}, {"letterbox": 320}, {"cfg_options": {"model.flip_test": True}}):
        assert chosen(**options) == "ehrnet-small"
    assert chosen(backend="torch") == chosen("cuda:0") == "ehrnet-small"
    assert chosen("cuda:0", "onnxruntime") == chosen(backend="openvino") == model.network
    monkeypatch.setattr(zoo_form, "has_nvidia", lambda: True)
    assert chosen() == "ehrnet-small"
    assert chosen("cpu") == model.network
    monkeypatch.setattr(zoo_form, "find_spec", lambda name: None if name == "torch" else object())
    assert chosen() == chosen("cuda") == model.network


def test_a_provider_is_named_or_refused():
    with pytest.raises(DeployError, match="has no QNNExecutionProvider"):
        open_predictor("ehrnet-small", device="qnn", backend="onnxruntime")


def test_without_the_extra_packages_the_command_finds_people_and_says_what_to_install(root, tmp_path):
    import cv2

    from ehrpose.keypoint_meta import KeypointMeta

    meta = KeypointMeta.build(open_predictor("ehrnet-small", device="cpu").meta)
    cv2.imwrite(str(tmp_path / "photo.png"), drawn_scene(meta, (320, 240)))
    code = (
        "import sys\n"
        "for name in ('torch', 'mmengine', 'scipy', 'av', 'numba'): sys.modules[name] = None\n"
        "from ehrpose.__main__ import main\nmain(sys.argv[1:])"
    )

    def run(*words):
        env = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
            check=False,
        )

    done = run("predict", "photo.png", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "ehrnet-small onnxruntime fp32 -> outputs" in done.stdout
    assert (tmp_path / "outputs" / "photo.json").is_file()
    for words, extra in ((["train", "h-4"], "train"), (["predict", "photo.png", "--flip-test"], "train")):
        done = run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert f'pip install "ehrpose[{extra}]"' in done.stderr
        assert len(done.stderr.splitlines()) == 1
