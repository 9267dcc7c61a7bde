"""Exported classifiers give the model's classes; people are not asked of them."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from ehrpose.__main__ import main as ehrpose
from ehrpose.config import load_config
from ehrpose.deploy.sidecar import DeployError, read_sidecar
from ehrpose.models.loading import init_model

pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

# A side that halves to odd numbers, as the paper's 145 and 195 px do.
SIDE = 35
WORDS = ["--cfg-options", "phi=-12", f"input_size={SIDE}"]
NAMES = tuple(f"name {i}" for i in range(20))


@pytest.fixture(scope="module")
def model(root, tmp_path_factory):
    """Config name, checkpoint and network of a classifier whose answers are not all alike."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    options = {"phi": -12, "input_size": SIDE}
    network = init_model(load_config(root / "configs/classification/demo_drawn-64.py", options))
    images = torch.nn.functional.interpolate(torch.randn(64, 3, 5, 5), (SIDE, SIDE), mode="bicubic")
    with torch.no_grad():
        for _ in range(30):  # statistics of the batch norms
            network.train()(images)
        network.eval().head.classifier.weight.normal_(std=1.0)
        network.head.classifier.bias -= network(images).mean(0)
    path = folder / "weights.pth"
    torch.save({"state_dict": network.state_dict(), "meta": {"dataset_meta": {"classes": NAMES}}}, path)
    return path, network


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(6):
        small = rng.integers(0, 256, (5, 7, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(small, (90, 60), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    ehrpose(["deploy", "demo_drawn-64", str(model[0]), "--work-dir", str(folder), *WORDS])
    return folder / "end2end.onnx"


def answers(capsys, photos, *words):
    ehrpose(["classify", str(photos), *words, "--out", str(photos / "answers.json")])
    capsys.readouterr()
    found = json.loads((photos / "answers.json").read_text())
    return [(one["classes"][0]["name"], one["classes"][0]["score"]) for one in found]


def test_classes_and_scores_are_the_models(model, photos, exported, capsys):
    ours = answers(capsys, photos, "--model", str(exported))
    wanted = answers(capsys, photos, "--model", f"demo_drawn-64:{model[0]}", *WORDS)
    assert [name for name, _ in ours] == [name for name, _ in wanted]
    assert [score for _, score in ours] == pytest.approx([score for _, score in wanted], abs=1e-4)
    assert len({name for name, _ in ours}) > 1
    sidecar = read_sidecar(exported)
    assert sidecar.codec == {"type": "ClassScores", "input_size": SIDE, "share": 1.0, "classes": list(NAMES)}
    assert sidecar.outputs == {"logits": [1, 20, 1, 1]}


def test_openvino_reads_it(photos, exported, capsys):
    pytest.importorskip("openvino", reason="openvino is in the extra 'deploy'")
    ours = answers(capsys, photos, "--model", str(exported), "--backend", "openvino")
    wanted = answers(capsys, photos, "--model", str(exported))
    assert [name for name, _ in ours] == [name for name, _ in wanted]


def test_int8_says_how_many_classes_stay(model, photos, tmp_path, capsys):
    pytest.importorskip("onnx", reason="onnx is in the extra 'deploy'")
    words = ["--precision", "int8", "--calib-data", str(photos), "--work-dir", str(tmp_path)]
    ehrpose(["deploy", "demo_drawn-64", str(model[0]), *words, *WORDS])
    out = capsys.readouterr().out
    assert "int8: the same class as in float32 on " in out
    assert "of 6 calibration photos" in out
    found = answers(capsys, photos, "--model", str(tmp_path / "end2end.onnx"))
    assert len(found) == 6


def told(words, capsys):
    with pytest.raises(SystemExit) as end:
        ehrpose([str(word) for word in words])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_mistakes_are_one_line(model, photos, exported, tmp_path, capsys):
    deploy = ["deploy", "demo_drawn-64", model[0], "--work-dir", tmp_path, *WORDS]
    assert "--backend: expected onnxruntime or openvino for a classifier" in told(
        [*deploy, "--backend", "ncnn"], capsys
    )
    assert "leave out --input-size and --decode" in told([*deploy, "--decode", "peaks"], capsys)
    assert list(tmp_path.iterdir()) == []
    photo = photos / "0.png"
    assert "neither weights" in told(["classify", photo, "--model", exported, "--weights", model[0]], capsys)
    said = told(["predict", photo, "--model", exported, "--out-dir", tmp_path], capsys)
    assert "use ehrpose classify" in said


def test_a_pose_network_is_no_classifier(root):
    from ehrpose.deploy.classifier_runtime import ClassifierRuntime

    with pytest.raises(DeployError, match="is no classifier: to find people"):
        ClassifierRuntime(next((root / "checkpoints").glob("ehrnet-small*.onnx")))
