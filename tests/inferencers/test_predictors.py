from __future__ import annotations

import copy
import gc
import pickle
import weakref

import cv2
import numpy as np
import pytest
import torch

from ehrpose.apis import inference
from ehrpose.deploy.export.onnx import torch_maps
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.predictors import TorchPredictor
from ehrpose.models.loading import init_model
from ehrpose.registry import TRANSFORMS

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


@pytest.fixture
def model(demo_config, lively_checkpoint, small_options):
    return init_model(demo_config, lively_checkpoint, cfg_options=small_options)


@pytest.fixture
def built(monkeypatch):
    """Types of the transforms that are built."""
    types = []
    build = TRANSFORMS.build
    monkeypatch.setattr(TRANSFORMS, "build", lambda step: types.append(step["type"]) or build(step))
    return types


def keypoints(model, photo=PHOTO):
    return inference(model, photo)[0].pred_instances.keypoints


def test_the_pipeline_is_built_once_for_a_model(model, built):
    first = keypoints(model)
    assert built
    built.clear()
    np.testing.assert_array_equal(keypoints(model), first)
    TorchPredictor(model).predict([PHOTO])
    assert built == []


def test_a_changed_config_is_followed(model, built):
    before = inference(model, PHOTO)[0]
    resize = next(s for s in model.cfg.test_dataloader.dataset.pipeline if s["type"] == "BottomUpResize")
    resize["input_size"] = 128
    after = inference(model, PHOTO)[0]
    assert before.input_shape != after.input_shape
    assert min(after.input_shape) == 128
    assert built.count("BottomUpResize") == 2


def test_a_used_model_is_copied_pickled_and_freed_as_before(model):
    expected = keypoints(model)
    assert len(expected) > 0
    copied = copy.deepcopy(model)
    again = pickle.loads(pickle.dumps(model))
    copied.cfg.test_dataloader.dataset.pipeline[1]["input_size"] = 128
    assert min(inference(copied, PHOTO)[0].input_shape) == 128
    np.testing.assert_array_equal(keypoints(model), expected)
    np.testing.assert_array_equal(keypoints(again), expected)
    assert set(vars(again)) == set(vars(model))
    kept = weakref.ref(again)
    del again
    gc.collect()
    assert kept() is None


def test_files_and_arrays_give_the_same_people_with_their_numbers(model, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), PHOTO)
    samples = TorchPredictor(model).samples([tmp_path / "a.png", PHOTO], first_id=5)
    assert [sample.img_id for sample in samples] == [5, 6]
    np.testing.assert_array_equal(samples[0].pred_instances.keypoints, samples[1].pred_instances.keypoints)
    assert [sample.img_id for sample in inference(model, [PHOTO] * 3, batch_size=2)] == [0, 1, 2]
    with pytest.raises(ValueError, match="uint8 BGR"):
        TorchPredictor(model).predict([PHOTO.astype(np.float32)])


def test_raw_maps_are_what_the_exported_network_is_compared_with(model):
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    found = TorchPredictor(model).raw_maps(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
    for ours, theirs in zip(found, torch_maps(model, image)):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("option", [{"mode": "fast"}, {"flip_test": True}, {"cfg_options": {"phi": -4}}])
def test_a_model_that_is_built_takes_no_options_of_its_building(model, option):
    (name,) = option
    with pytest.raises(
        ValueError, match=f"already built and does not accept {name}: pass them to init_model"
    ):
        PoseInferencer(model, **option)
