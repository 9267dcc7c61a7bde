"""Files of other projects: networks of constants stand for them, and MoveNet's real file where it is at hand."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ehrpose import PoseInferencer
from ehrpose.deploy.sidecar import DeployError
from ehrpose.inferencers.adapters import (
    MoveNetPredictor,
    RtmoPredictor,
    YoloPosePredictor,
    from_supervision,
    to_supervision,
)
from ehrpose.inferencers.predictors import open_predictor
from ehrpose.structures import People

pytest.importorskip("onnxruntime")
PHOTO = np.zeros((240, 320, 3), np.uint8)
# Keypoints of two people in a photo of 320 x 240 px, and their scores.
PEOPLE = np.stack([np.linspace((20, 30), (60, 200), 17), np.linspace((200, 20), (300, 220), 17)]).astype(
    np.float32
)
SCORES = np.array([0.6, 0.9], np.float32)
KEYPOINT_SCORES = np.linspace(0.1, 1, 34, dtype=np.float32).reshape(2, 17)


@pytest.fixture
def network(tmp_path):
    """Write a network that returns the given arrays whatever it sees, and the largest value of its input."""

    def write(*outputs, shape=(1, 3, 320, 320), kind="FLOAT", name="other.onnx"):
        onnx = pytest.importorskip("onnx")
        from onnx import TensorProto, helper, numpy_helper

        nodes, values, seen = [], [], []
        cast = helper.make_node("Cast", ["image"], ["seen"], to=TensorProto.FLOAT)
        zero = helper.make_node("Mul", ["least", "nothing"], ["zero"])
        nodes += [cast, helper.make_node("ReduceMin", ["seen"], ["least"], keepdims=0), zero]
        seen.append(numpy_helper.from_array(np.zeros((), np.float32), "nothing"))
        for i, output in enumerate(outputs):
            seen.append(numpy_helper.from_array(np.asarray(output, np.float32), f"constant{i}"))
            nodes.append(helper.make_node("Add", [f"constant{i}", "zero"], [f"out{i}"]))
            values.append(helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, np.shape(output)))
        image = helper.make_tensor_value_info("image", getattr(TensorProto, kind), shape)
        graph = helper.make_graph(nodes, "other", [image], values, seen)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


def same(people, order=(1, 0), tolerance=1e-3):
    np.testing.assert_allclose(people.keypoints, PEOPLE[list(order)], atol=tolerance)
    np.testing.assert_allclose(people.keypoint_scores, KEYPOINT_SCORES[list(order)], atol=1e-6)
    np.testing.assert_allclose(people.scores, SCORES[list(order)], atol=1e-6)


def rows(corner, boxes_as="corners", with_class=False):
    """Rows of YOLO-pose for a photo that lies at ``corner`` in the square."""
    points = PEOPLE + np.asarray(corner, np.float32)
    low, high = points.min(axis=1), points.max(axis=1)
    boxes = np.hstack([low, high]) if boxes_as == "corners" else np.hstack([(low + high) / 2, high - low])
    keypoints = np.concatenate([points, KEYPOINT_SCORES[..., None]], axis=2).reshape(2, 51)
    return np.hstack([boxes, SCORES[:, None], *([np.zeros((2, 1))] if with_class else []), keypoints])


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_yolo_pose_after_suppression(network, backend):
    pytest.importorskip(backend)
    for with_class in (False, True):
        path = network(rows((0, 40), with_class=with_class)[None])
        predictor = YoloPosePredictor(path, backend, num_threads=1)
        assert predictor.size == 320
        assert predictor.name == f"other.onnx {backend}"
        same(*predictor.predict([PHOTO]))


def test_yolo_pose_before_suppression_drops_copies(network):
    real = rows((0, 40), "centres")
    copies = real + np.array([2, 2, 0, 0, -0.1, *[0] * 51])
    weak = np.zeros((3, 56))
    path = network(np.vstack([copies, real, weak]).T[None])
    same(*YoloPosePredictor(path).predict([PHOTO]))
    assert len(YoloPosePredictor(path, nms_iou=1.0).predict([PHOTO])[0]) == 4


def test_photos_are_fitted_into_the_square(network):
    # Half the size: a photo of 640 x 480 in a square of 320; centres of pixels stay centres.
    path = network(rows((0, 40))[None])
    (people,) = YoloPosePredictor(path).predict([np.zeros((480, 640, 3), np.uint8)])
    np.testing.assert_allclose(people.keypoints, PEOPLE[[1, 0]] * 2 + 0.5, atol=1e-3)


def test_rtmo_takes_its_outputs_in_either_order(network):
    boxes = np.hstack([PEOPLE.min(axis=1), PEOPLE.max(axis=1), SCORES[:, None]])[None]
    keypoints = np.concatenate([PEOPLE, KEYPOINT_SCORES[..., None]], axis=2)[None]
    for outputs in ((boxes, keypoints), (keypoints, boxes)):
        predictor = RtmoPredictor(network(*outputs), min_score=0.1)
        same(*predictor.predict([PHOTO]))
    assert len(RtmoPredictor(network(boxes, keypoints), min_score=0.7).predict([PHOTO])[0]) == 1


def test_movenet(network):
    found = np.zeros((1, 6, 56), np.float32)
    points = np.concatenate([PEOPLE[:, :, ::-1] / [256, 320], KEYPOINT_SCORES[..., None]], axis=2)
    found[0, :2, :51], found[0, :2, 55] = points.reshape(2, 51), SCORES
    path = network(found, shape=(1, "h", "w", 3), kind="INT32")
    same(*MoveNetPredictor(path, size=320).predict([PHOTO]))
    assert MoveNetPredictor(path).size == 256


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_real_movenet_finds_people(shared_rivals, coco_mini, backend):
    pytest.importorskip(backend)
    path = shared_rivals / "movenet_multipose_lightning.onnx"
    photo = sorted((coco_mini / "val2017").glob("*.jpg"))[0]
    with PoseInferencer(f"movenet:{path}", backend=backend, num_threads=1) as inferencer:
        (result,) = inferencer([str(photo)], bbox_thr=0.02)
    people = result["predictions"][0]
    assert len(people) == 2
    np.testing.assert_allclose(people[0]["keypoints"][0], [430.05, 174.71], atol=0.5)
    assert result["model"].endswith(backend)


@pytest.fixture
def shared_rivals(root):
    folder = root.parent / "shared" / "rivals"
    if not folder.is_dir():
        pytest.skip("the weights of other projects are not at hand")
    return folder


def test_families_are_named_in_the_model(network):
    path = network(rows((0, 40))[None])
    same(*open_predictor(f"yolo-pose:{path}", num_threads=1).predict([PHOTO]))
    with pytest.raises(
        ValueError, match="does not accept flip_test, weights: it is not a network of ehrpose"
    ):
        open_predictor(f"yolo-pose:{path}", "weights.pth", flip_test=True)
    with pytest.raises(FileNotFoundError, match=r"network not found: none\.onnx"):
        open_predictor("rtmo:none.onnx")


def test_files_and_arguments_that_do_not_fit(network, tmp_path):
    wrong = network(np.zeros((1, 4, 7)))
    with pytest.raises(
        DeployError, match=r"expected an output of \(1, 56, N\).*got \(1, 4, 7\): is it a file of an"
    ):
        YoloPosePredictor(wrong).predict([PHOTO])
    with pytest.raises(DeployError, match=r"an input of \(1, 3, S, S\) and two outputs, got .* and 1"):
        RtmoPredictor(wrong)
    with pytest.raises(DeployError, match=r"expected an input of \(1, H, W, 3\)"):
        MoveNetPredictor(wrong)
    for options, message in (
        ({"backend": "tensorrt"}, "expected a backend of onnxruntime, openvino, got 'tensorrt'"),
        ({"device": "cuda:0"}, "runs on the CPU only, got device 'cuda:0'"),
        ({"min_score": 2}, "min_score: expected a number from 0 to 1, got 2"),
        ({"size": 100}, "size: expected a multiple of 32, got 100"),
        ({"nms_iou": 0}, "nms_iou: expected a number above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            YoloPosePredictor(wrong, **options)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(DeployError, match="ONNX Runtime cannot load"):
        YoloPosePredictor(tmp_path / "text.onnx")
    predictor = YoloPosePredictor(network(rows((0, 40))[None]))
    predictor.close()
    with pytest.raises(DeployError, match="was closed"):
        predictor.predict([PHOTO])


@dataclass
class Present:
    """The fields of supervision.KeyPoints since 0.29."""

    xy: Any
    class_id: Any = None
    keypoint_confidence: Any = None
    detection_confidence: Any = None
    data: dict = field(default_factory=dict)


@dataclass
class Former:
    """Those before."""

    xy: Any
    class_id: Any = None
    confidence: Any = None
    data: dict = field(default_factory=dict)


@pytest.mark.parametrize("kind", [Present, Former])
def test_supervision_both_ways(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "supervision", types.SimpleNamespace(KeyPoints=kind))
    people = People(PEOPLE, KEYPOINT_SCORES, np.array([0.9, 0.6], np.float32))
    there = to_supervision(people)
    back = from_supervision(there)
    for name in ("keypoints", "keypoint_scores", "scores"):
        np.testing.assert_array_equal(getattr(back, name), getattr(people, name))
    assert len(from_supervision(to_supervision(People.empty(17)))) == 0


def test_supervision_without_scores():
    xy = PEOPLE.copy()
    xy[0, 3:] = 0
    people = from_supervision(Present(xy))
    np.testing.assert_allclose(people.scores, [1, 3 / 17])
    with pytest.raises(TypeError, match=r"expected supervision\.KeyPoints with xy of \(N, K, 2\), got list"):
        from_supervision([1, 2])


def test_the_real_supervision():
    supervision = pytest.importorskip("supervision")
    people = People(PEOPLE, KEYPOINT_SCORES, np.array([0.9, 0.6], np.float32))
    there = to_supervision(people)
    assert isinstance(there, supervision.KeyPoints)
    np.testing.assert_array_equal(from_supervision(there).keypoints, PEOPLE)
