"""Weights are read from TensorFlow Lite files, whole and dequantised, and damaged files are named in one line."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_files import posenet_constants, write_tflite

from ehrpose.models.weights.conversion import convert
from ehrpose.models.weights.tflite import is_tflite, network_tensors, read_tflite


@pytest.fixture
def path(tmp_path, rng):
    return write_tflite(tmp_path / "posenet_353_481.tflite", posenet_constants(rng))


def test_values_are_dequantised(tmp_path, rng):
    whole = rng.integers(-128, 128, (3, 2, 2, 4)).astype(np.int8)
    exact = rng.normal(size=(2, 5)).astype(np.float32)
    half = rng.normal(size=6).astype(np.float16)
    found = read_tflite(
        write_tflite(
            tmp_path / "a.tflite",
            {
                "one scale": (whole, [0.5], [3], 0),
                "scales of rows": (whole, [0.5, 1, 2], [0, 1, 2], 0),
                "scales of columns": (whole, [0.5, 1, 2, 4], [0, 0, 0, 0], 3),
                "float": (exact, None, None, 0),
                "half": (half, None, None, 0),
            },
        )
    )
    assert list(found) == ["one scale", "scales of rows", "scales of columns", "float", "half"]
    assert {tensor.values.dtype for tensor in found.values()} == {np.dtype("float32")}
    np.testing.assert_array_equal(found["one scale"].values, (whole.astype(np.float64) - 3) / 2)
    rows = (whole.astype(np.float64) - np.arange(3).reshape(3, 1, 1, 1)) * np.array([0.5, 1, 2]).reshape(
        3, 1, 1, 1
    )
    np.testing.assert_array_equal(found["scales of rows"].values, rows)
    np.testing.assert_array_equal(found["scales of columns"].values, whole * np.array([0.5, 1, 2, 4]))
    np.testing.assert_array_equal(found["float"].values, exact)
    np.testing.assert_array_equal(found["half"].values, half.astype(np.float32))
    assert [found[name].scale for name in ("one scale", "scales of rows", "float")] == [0.5, 2, 0]


def test_a_posenet_file_converts_whole(path):
    assert is_tflite(path)
    tensors = network_tensors(path)
    assert tensors["Conv2d_0.weight"].shape == (8, 3, 3, 3)
    assert tensors["Conv2d_4_depthwise.weight"].shape == (16, 1, 3, 3)
    converted = convert(tensors)
    assert converted.kind == "posenet"
    assert converted.sizes == {"width": 0.25, "max_channels": 64, "num_keypoints": 17}
    assert len(converted.state_dict) == len(tensors) == 62
    raw = read_tflite(path)[
        "tower_0/MobilenetV1/Conv2d_3_depthwise/weights_quant/FakeQuantWithMinMaxVars"
    ].values
    ours = converted.state_dict["backbone.blocks.2.depthwise.conv.weight"].numpy()
    np.testing.assert_array_equal(ours[:, 0], raw[0].transpose(2, 0, 1))
    raw = read_tflite(path)["tower_0/MobilenetV1/offset_2/weights_quant/FakeQuantWithMinMaxVars"].values
    np.testing.assert_array_equal(converted.state_dict["head.short.weight"][:, :, 0, 0], raw[:, 0, 0])


def test_damaged_files_are_named(path, tmp_path):
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    messages = set()
    for i in range(300):
        damaged = bytearray(content)
        if i % 3 == 0:
            damaged = damaged[: rng.integers(8, len(damaged))]
        else:
            for place in rng.integers(8, min(len(damaged), 6000), 20):
                damaged[place] = rng.integers(256)
        other = tmp_path / "damaged.tflite"
        other.write_bytes(damaged)
        try:
            network_tensors(other)
        except ValueError as error:
            messages.add(str(error))
    assert len(messages) > 10
    assert {len(text.splitlines()) for text in messages} == {1}
    assert all("damaged.tflite is truncated or damaged (" in text for text in messages)


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "a.tflite"
    other.write_bytes(b"\0" * 100)
    assert not is_tflite(other)
    assert not is_tflite(tmp_path / "none.tflite")
    with pytest.raises(ValueError, match="not a TensorFlow Lite file: expected the identifier TFL3"):
        read_tflite(other)
    with pytest.raises(FileNotFoundError, match="checkpoint not found"):
        read_tflite(tmp_path / "none.tflite")


def test_other_networks_are_told_apart(tmp_path, rng):
    constants = posenet_constants(rng)
    del constants["MobilenetV1/heatmap_2/Conv2D_bias"]
    tensors = network_tensors(write_tflite(tmp_path / "a.tflite", constants))
    with pytest.raises(ValueError, match=r"do not match PoseNet .*1 missing: heatmap_2.bias"):
        convert(tensors)
