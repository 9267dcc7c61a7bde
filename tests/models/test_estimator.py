"""The estimator end to end on random weights: prediction, flipping, batches, swapped parts."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from ehrpose.data_sample import PoseDataSample
from ehrpose.registry import CODECS, MODELS
from ehrpose.structures import People, invert_warp


@MODELS.register_module()
class TinyBackbone(BaseModule):
    """Four plain convolutions: any backbone with maps at strides 4, 8, 16, 32 fits the neck."""

    out_channels = (6, 8, 10, 12)
    out_strides = (4, 8, 16, 32)

    def __init__(self):
        super().__init__()
        widths = (3, *self.out_channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, 4 if i == 0 else 2, 0 if i == 0 else 1)
                                   for i, (a, b) in enumerate(itertools.pairwise(widths)))  # fmt: skip

    def forward(self, x):
        return tuple(x := conv(x) for conv in self.convs)


def build(keypoints, seed=0, codec=None, **parts):
    codec = {"type": "AssociativeEmbedding", "input_size": 64, "keypoints": keypoints, "min_score": 0.02} | (
        codec or {}
    )
    cfg = {
        "type": "BottomUpEstimator",
        "backbone": {"type": "EfficientNet", "phi": -7},
        "neck": {"type": "HighResolutionNeck", "phi": -7},
        "head": {"type": "AEHead", "codec": codec},
        **parts,
    }
    cfg["head"] = {**cfg["head"], "codec": codec}
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    # With the paper's initialisation all maps are nearly flat: larger weights produce peaks to find.
    for layer in [*model.neck.modules(), *model.head.modules()]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight)
    model.eval()
    with torch.no_grad():
        for name, layer in ((f"heat{s}", getattr(model.head, f"output{s}", None)) for s in (4, 2)):
            if layer is not None:
                field = getattr(model(torch.randn(1, 3, 64, 64)), name)
                layer.weight *= 0.4 / field.std()
    return model.eval()


def photos(count, height=64, width=64, seed=1):
    generators = [torch.Generator().manual_seed(seed + n) for n in range(count)]
    return [torch.randint(0, 256, (3, height, width), generator=g, dtype=torch.uint8) for g in generators]


def predict(model, images, **meta):
    samples = [PoseDataSample(metainfo={"warp": np.array([[1.0, 0, 0], [0, 1, 0]]), **meta}) for _ in images]
    with torch.no_grad():
        return [s.pred_instances for s in model.test_step({"inputs": images, "data_samples": samples})]


def assert_same(first, second, atol=1e-4):
    assert len(first.keypoints) == len(second.keypoints) > 0
    np.testing.assert_allclose(first.keypoints, second.keypoints, rtol=1e-5, atol=atol)
    np.testing.assert_allclose(first.keypoint_scores, second.keypoint_scores, rtol=1e-5, atol=atol)


VARIANTS = {
    "default": {},
    "tags at both levels": {"codec": {"tag_strides": (4, 2)}},
    "long tags": {"codec": {"tag_dim": 2}},
    "lite backbone": {"backbone": {"type": "EfficientNetLite", "phi": -6}},
    "foreign backbone": {"backbone": {"type": "TinyBackbone"}},
    "top-down neck": {"neck": {"type": "TopDownNeck", "channels": 8}},
    "one-level head": {"head": {"type": "SingleLevelAEHead"}, "codec": {"strides": (4,)}},
    "one level at stride 2": {
        "head": {"type": "SingleLevelAEHead"},
        "codec": {"strides": (2,), "tag_strides": (2,)},
    },
    "unbiased codec": {"codec": {"unbiased": True}},
    "paper decoding": {"codec": {"mode": "paper"}},
    "two-step resizing": {"codec": {"mode": "paper", "resize": "two_step"}},
    "distance re-weighting": {"codec": {"dist_reweight": True}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_part_can_be_swapped_and_predicts_and_learns(five_keypoints, name):
    model = build(five_keypoints, flip_test=True, **copy.deepcopy(VARIANTS[name]))
    result = predict(model, photos(2))
    assert len(result) == 2
    assert result[0].keypoints.shape[1:] == (5, 2)
    assert len(result[0].keypoints) > 0
    targets = model.codec.encode(np.random.default_rng(0).uniform(5, 60, (2, 5, 2)), np.full((2, 5), 2))
    sample = PoseDataSample(gt_targets={k: torch.from_numpy(v) for k, v in targets.items()})
    losses = model.train()(torch.randn(2, 3, 64, 64), [sample, sample], mode="loss")
    expected = {f"loss_heat{s}" for s in model.codec.strides} | {"loss_pull", "loss_push"}
    assert set(losses) == expected
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_batch_equals_its_photos_one_by_one_also_of_several_shapes(coco_keypoints):
    model = build(coco_keypoints)
    images = [*photos(2), *photos(1, 96, 64), *photos(1, 64, 128)]
    together = predict(model, images)
    for image, batched in zip(images, together):
        assert_same(predict(model, [image])[0], batched)
    for pair, batched in zip(predict(model, images[:2]), together[:2]):
        assert_same(pair, batched)


def test_prediction_is_deterministic(coco_keypoints):
    model = build(coco_keypoints, flip_test=True)
    first, second = predict(model, photos(1))[0], predict(model, photos(1))[0]
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    np.testing.assert_array_equal(first.keypoint_scores, second.keypoint_scores)


@pytest.mark.parametrize("mode", ["fast", "paper"])
def test_mirroring_the_photo_mirrors_the_people(coco_keypoints, mode):
    # With the flip test the maps of photo and mirrored photo are mirror images, and decoding preserves that. The
    # tags are kept distinct: which of two equally good people a candidate joins depends on the order.
    model = build(coco_keypoints, flip_test=True, codec={"mode": mode})
    swap = list(model.codec.meta.flip_indices)
    image = torch.randn(1, 3, 64, 64)
    one, other = model.test_maps(image)[0], model.test_maps(image.flip(3))[0]
    for field in ("heat4", "heat2"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field)[swap][:, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(one.tag4[:17], other.tag4[17:][swap][:, :, ::-1], atol=1e-5)
    clear = np.zeros_like(one.tag4)
    clear[:, :, 8:] = 10.0
    mirrored = np.ascontiguousarray(clear[:, :, ::-1])
    first = model.codec.decode(one._replace(tag4=clear))
    second = model.codec.decode(other._replace(tag4=mirrored))
    people, mirror_people = (set(), set())
    for found, result, flip in ((first, people, False), (second, mirror_people, True)):
        for keypoints, scores in zip(found.keypoints, found.keypoint_scores):
            for k in range(17):
                x, y = keypoints[swap[k] if flip else k]
                score = scores[swap[k] if flip else k]
                if score > model.codec.settings.min_score:
                    result.add((k, round(float(64 - x if flip else x), 2), round(float(y), 2)))
    assert len(people) > 50
    assert len(people ^ mirror_people) <= 0.03 * len(people)  # rounding to the second decimal


def test_flip_test_concatenates_tags_and_averages_heat(coco_keypoints):
    model = build(coco_keypoints, flip_test=True)
    image = torch.randn(1, 3, 64, 64)
    merged = model.test_maps(image)[0]
    model.flip_test = False
    plain, mirror = model.test_maps(image)[0], model.test_maps(image.flip(3))[0]
    swap = list(model.codec.meta.flip_indices)
    np.testing.assert_allclose(merged.heat2, (plain.heat2 + mirror.heat2[swap][:, :, ::-1]) / 2, atol=1e-5)
    np.testing.assert_allclose(merged.tag4[:17], plain.tag4, atol=1e-5)
    np.testing.assert_allclose(merged.tag4[17:], mirror.tag4[swap][:, :, ::-1], atol=1e-5)


def test_predictions_go_back_through_the_warp(coco_keypoints):
    model = build(coco_keypoints)
    image = photos(1)
    warp = np.array([[0.5, 0.1, 3.0], [-0.1, 0.5, 7.0]])
    plain, moved = predict(model, image)[0], predict(model, image, warp=warp)[0]
    inverse = invert_warp(warp)
    np.testing.assert_allclose(moved.keypoints, plain.keypoints @ inverse[:, :2].T + inverse[:, 2], atol=1e-3)


def test_multi_scale_runs_every_scale(coco_keypoints):
    model = build(coco_keypoints)
    with torch.no_grad():
        result = model.test_step({"inputs": [[photos(1)[0], photos(1, 32, 32)[0], photos(1, 96, 96)[0]]],
                                  "data_samples": [PoseDataSample()]})  # fmt: skip
    assert len(result) == 1
    assert np.isfinite(result[0].pred_instances.keypoints).all()


def test_boxes_span_the_keypoints_that_were_found():
    people = People(
        np.array([[[1, 2], [5, 9], [100, 100]]], np.float32),
        np.array([[0.5, 0.5, 0]], np.float32),
        np.ones(1, np.float32),
    )
    assert people.to_fields()["bboxes"].tolist() == [[1, 2, 5, 9]]
    assert People.empty(3).to_fields()["bboxes"].shape == (0, 4)


def test_mistakes_are_named(coco_keypoints):
    model = build(coco_keypoints)
    with pytest.raises(ValueError, match="mode"):
        model(torch.zeros(1, 3, 64, 64), mode="guess")
    with pytest.raises(ValueError, match="EncodeTargets"):
        model(torch.zeros(1, 3, 64, 64), None, mode="loss")
    with pytest.raises(ValueError, match="std"):
        MODELS.build({"type": "PosePreprocessor", "std": (0, 1, 1)})


def test_codecs_are_built_by_name(coco_keypoints):
    codec = CODECS.build({"type": "AssociativeEmbedding", "input_size": 64, "keypoints": coco_keypoints})
    assert codec.num_keypoints == 17
