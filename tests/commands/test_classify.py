"""The command ``ehrpose classify``."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from ehrpose.__main__ import main as ehrpose
from ehrpose.config import load_config
from ehrpose.models.loading import init_model

OPTIONS = {"phi": -12, "input_size": 32}
WORDS = ["--cfg-options", "phi=-12", "input_size=32"]


@pytest.fixture(scope="module")
def model(root, tmp_path_factory):
    """A classifier with random weights that knows the names of its classes, as the command takes it."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = init_model(load_config(root / "configs/classification/demo_drawn-64.py", OPTIONS))
    meta = {"dataset_meta": {"classes": tuple(f"name {i}" for i in range(20))}}
    torch.save({"state_dict": network.state_dict(), "meta": meta}, folder / "weights.pth")
    return f"demo_drawn-64:{folder / 'weights.pth'}", network


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (70, 50, 3), np.uint8))
    return tmp_path


def test_answers_are_those_of_the_network(model, photos, capsys):
    ehrpose(
        ["classify", str(photos), "--model", model[0], "--top", "2", "--out", str(photos / "o.json"), *WORDS]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(photos / name) for name in ("a.png", "b.png")]
    written = json.loads((photos / "o.json").read_text())
    best = written[0]["classes"]
    assert lines[0].endswith(
        f"{best[0]['name']} {best[0]['score']:.2f}, {best[1]['name']} {best[1]['score']:.2f}"
    )
    assert best[0]["name"] == f"name {best[0]['label']}"
    # By hand: the middle square of the photo, enlarged.
    photo = cv2.imread(str(photos / "a.png"))[10:60]
    matrix = np.array([[32 / 50, 0, 15.5 - 24.5 * 32 / 50], [0, 32 / 50, 15.5 - 24.5 * 32 / 50]])
    small = torch.from_numpy(cv2.warpAffine(photo, matrix, (32, 32)).transpose(2, 0, 1).copy())
    scores = model[1].probabilities(model[1].data_preprocessor({"inputs": [small]})["inputs"])[0]
    assert best[0]["score"] == pytest.approx(float(scores.max()), abs=2e-3)


def test_names_from_a_file(model, photos, capsys):
    (photos / "names.txt").write_text("\n".join(f"mine {i}" for i in range(20)))
    ehrpose(
        [
            "classify",
            str(photos / "a.png"),
            "--model",
            model[0],
            "--classes",
            str(photos / "names.txt"),
            *WORDS,
        ]
    )
    assert ": mine " in capsys.readouterr().out


def test_an_unreadable_photo_does_not_end_the_others(model, photos, capsys):
    (photos / "a.png").write_bytes(b"no photo")
    with pytest.raises(SystemExit) as end:
        ehrpose(["classify", str(photos), "--model", model[0], *WORDS])
    found = capsys.readouterr()
    assert end.value.code == 1
    assert found.out.startswith(str(photos / "b.png"))
    assert "1 of 2 images could not be read" in found.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "demo_drawn-64"], "demo_drawn-64 has no weights: expected CONFIG:CHECKPOINT"),
        (["--model", "demo_drawn-64:none.pth"], "checkpoint not found: none.pth"),
        (["--model", "demo_drawn-64:none", "--top", "0"], "--top must be at least 1"),
        (["--model", "demo_drawn-64:none", "--classes", "no.txt"], "--classes: file not found"),
        (["--model", "demo_drawn-64:none", "--backend", "openvino"], "--backend is for exported files"),
        (["--model", "h-4_coco-384:none"], "use ehrpose predict"),
    ],
)
def test_mistakes_are_one_line(photos, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        ehrpose(["classify", str(photos / "a.png"), *words])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_list_of_another_length_is_refused(model, photos, capsys):
    (photos / "names.txt").write_text("one\ntwo\n")
    with pytest.raises(SystemExit):
        ehrpose(
            [
                "classify",
                str(photos / "a.png"),
                "--model",
                model[0],
                "--classes",
                str(photos / "names.txt"),
                *WORDS,
            ]
        )
    assert "20 classes, got 2 names: give the right list with --classes" in capsys.readouterr().err


def test_models_that_find_people_are_named(photos, capsys):
    with pytest.raises(SystemExit):
        ehrpose(["classify", str(photos), "--model", "ehrnet-small"])
    assert "whose models find people: use ehrpose predict" in capsys.readouterr().err


def test_a_classifier_finds_no_people(photos, capsys):
    with pytest.raises(SystemExit):
        ehrpose(
            [
                "predict",
                str(photos),
                "--model",
                "configs/classification/demo_drawn-64.py",
                "--weights",
                "none",
            ]
        )
    assert "to say what a photo shows, use ehrpose classify" in capsys.readouterr().err
