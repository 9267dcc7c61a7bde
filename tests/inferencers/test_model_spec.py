from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ehrpose.inferencers.model_spec import ModelSpec
from ehrpose.inferencers.predictors import TorchPredictor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ehrnet-small", ("ehrnet-small", None, "ehrnet-small")),
        ("deploy/end2end.onnx", ("deploy/end2end.onnx", None, "end2end.onnx")),
        ("configs/h-4.py:b/c.pth", ("configs/h-4.py", "b/c.pth", "h-4")),
        ("configs/h-4.py:none", ("configs/h-4.py", "none", "h-4")),
        ("H-4=a/h.py:b/c.pth", ("a/h.py", "b/c.pth", "H-4")),
        ("int8=deploy/end2end.onnx", ("deploy/end2end.onnx", None, "int8")),
        ("mine=ehrnet-small", ("ehrnet-small", None, "mine")),
        ("a b=x=y.xml", ("x=y.xml", None, "a b")),
        # A path with an equals sign is not a name.
        ("runs/lr=1/h.py:h.pth", ("runs/lr=1/h.py", "h.pth", "h")),
        # Drive letters of Windows.
        (r"C:\x.py:C:\y.pth", (r"C:\x.py", r"C:\y.pth", "x")),
        (r"a=C:\x\h.py:D:\c.pth", (r"C:\x\h.py", r"D:\c.pth", "a")),
        ("a=C:/h.py:D:/c.pth", ("C:/h.py", "D:/c.pth", "a")),
        (r"C:\deploy\end2end.onnx", (r"C:\deploy\end2end.onnx", None, "end2end.onnx")),
        (r"C:\X.PY:C:\y.pth", (r"C:\X.PY", r"C:\y.pth", "X")),
    ],
)
def test_texts_name_models(text, expected):
    assert tuple(ModelSpec.parse(text)) == expected


@pytest.mark.parametrize("text", ["", "a=", "=h.py:c.pth"])
def test_other_texts_are_not_a_model(text):
    with pytest.raises(ValueError, match=r"expected .*CONFIG\.py:CHECKPOINT"):
        ModelSpec.parse(text)


@pytest.mark.parametrize("text", ["h.py", "a=h.py", "a=h.py:", r"C:\h.py"])
def test_a_config_needs_weights(text):
    with pytest.raises(ValueError, match=r"h\.py is a config without weights"):
        ModelSpec.parse(text)


def test_weights_may_be_given_separately():
    assert ModelSpec.parse("h.py", "h.pth") == ("h.py", "h.pth", "h")
    assert ModelSpec.parse("ehrnet-small", "h.pth").files() == ("ehrnet-small", "h.pth")
    with pytest.raises(ValueError, match=r"two checkpoints for h\.py: a\.pth and b\.pth"):
        ModelSpec.parse("h.py:a.pth", "b.pth")
    with pytest.raises(ValueError, match=r"end2end\.onnx is an exported network.* omit a\.pth"):
        ModelSpec.parse("end2end.onnx", "a.pth")


def test_none_is_random_weights_of_a_zoo_model_too(root):
    assert ModelSpec.parse("h.py:none").files() == ("h.py", None)
    assert ModelSpec.parse("end2end.onnx", "none").files() == ("end2end.onnx", None)
    config, weights = ModelSpec.parse("ehrnet-small", "none").files()
    assert (Path(config).suffix, weights) == (".py", None), "by its name it would come with its weights"
    assert Path(config).is_file()


def test_it_opens_what_it_names(demo_config, lively_checkpoint, lively_model, small_options):
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    opened = ModelSpec.parse(f"{demo_config}:{lively_checkpoint}").open("cpu", cfg_options=small_options)
    np.testing.assert_array_equal(
        opened.predict([photo])[0].keypoints, TorchPredictor(lively_model).predict([photo])[0].keypoints
    )
