"""Options by which the codec decodes as other projects do: two-step resizing, DARK, tags of all scales, stride 2."""

from __future__ import annotations

import cv2
import numpy as np
import oracle
import pytest
import torch
from torch.nn import functional as F

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.dark import MAX_MOVE, dark_peak
from ehrpose.codecs.grouping import group_candidates
from ehrpose.codecs.reference import decode_reference
from ehrpose.deploy.export.peaks import PeakExtractor
from ehrpose.structures import Maps, PeakMaps

K = 5


def random_maps(rng, strides=(4, 2), height=6, width=8, num_tags=1):
    """Maps of noise and single high pixels; the tags are at the coarsest stride."""
    fields = {}
    for stride in strides:
        shape = (K, height * strides[0] // stride, width * strides[0] // stride)
        fields[f"heat{stride}"] = rng.normal(0, 0.15, shape) + (rng.random(shape) < 0.04)
    fields[f"tag{strides[0]}"] = rng.normal(0, 2, (num_tags * K, height, width))
    return Maps(**{name: field.astype(np.float32) for name, field in fields.items()})


def assert_as_oracle(people, wanted):
    assert len(people) == len(wanted) > 0
    np.testing.assert_allclose(people.scores, [score for score, _ in wanted], atol=1e-6)
    keypoints = np.array([person for _, person in wanted])
    np.testing.assert_allclose(people.keypoints, keypoints[..., :2], atol=1e-4)
    np.testing.assert_allclose(people.keypoint_scores, keypoints[..., 2], atol=1e-5)


def assert_same(one, other):
    for name in ("keypoints", "keypoint_scores", "scores", "tags"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("num_tags", [1, 2])
def test_two_step_resizes_to_the_finest_level_then_to_the_input(five_keypoints, seed, num_tags):
    maps = random_maps(np.random.default_rng(seed), num_tags=num_tags)
    codec = AssociativeEmbedding(32, five_keypoints, mode="paper", resize="two_step")
    heat = (oracle.resize(maps.heat4, 12, 16) + maps.heat2) / 2
    tags = oracle.resize(oracle.resize(maps.tag4, 12, 16), 24, 32).reshape(-1, K, 24, 32)
    assert_as_oracle(codec.decode(maps), oracle.decode(oracle.resize(heat, 24, 32), tags, codec.meta.order))


def test_two_step_is_another_map_than_direct(five_keypoints):
    maps = random_maps(np.random.default_rng(0))
    found = [
        AssociativeEmbedding(32, five_keypoints, mode="paper", resize=resize).decode(maps).scores
        for resize in ("direct", "two_step")
    ]
    assert found[0].tolist() != found[1].tolist()


def test_with_one_level_two_step_is_direct(five_keypoints):
    maps = random_maps(np.random.default_rng(0), (4,))
    people = [
        AssociativeEmbedding(32, five_keypoints, (4,), mode="paper", resize=resize).decode(maps)
        for resize in ("direct", "two_step")
    ]
    assert_same(*people)


@pytest.mark.parametrize("seed", range(60))
def test_the_codec_equals_the_reference(five_keypoints, seed):
    rng = np.random.default_rng(seed)
    strides = ((4, 2), (4,), (2,))[seed % 3]
    unbiased = bool(rng.integers(2))
    options = {"cell_offset": 0.0} if not unbiased and len(strides) == 1 and seed % 2 else {}
    codec = AssociativeEmbedding(
        32, five_keypoints, strides, strides[:1], mode="paper", unbiased=unbiased,
        resize=("direct", "two_step")[rng.integers(2)], scale_tags=("first", "all")[rng.integers(2)],
        dist_reweight=bool(rng.integers(2)), **options,
    )  # fmt: skip
    scales = [random_maps(rng, strides, *rng.integers(4, 9, 2)) for _ in range(rng.integers(1, 4))]
    coarse = scales[0].heat2 if scales[0].heat4 is None else scales[0].heat4
    wh = (coarse.shape[2] * strides[0], coarse.shape[1] * strides[0])
    people = codec.decode(scales)
    assert_same(people, decode_reference(scales, wh, codec.settings))
    assert people.tags.shape[1] == (len(scales) if codec.settings.scale_tags == "all" else 1)


@pytest.mark.parametrize("unbiased", [False, True])
def test_tags_of_all_scales_are_concatenated(five_keypoints, unbiased):
    rng = np.random.default_rng(1)
    scales = [random_maps(rng, (4,), side, side + 1) for side in (6, 12, 3)]
    codec = AssociativeEmbedding(
        32, five_keypoints, (4,), mode="paper", unbiased=unbiased, scale_tags="all", fill_missing=False
    )

    def to_input(maps):
        tensor = torch.from_numpy(maps)[None]
        return F.interpolate(tensor, size=(24, 28), mode="bilinear", align_corners=unbiased)[0].numpy()

    heat = np.mean([to_input(maps.heat4) for maps in scales], axis=0)
    tags = np.stack([to_input(maps.tag4) for maps in scales])
    wanted = oracle.decode(heat, tags, codec.meta.order)
    people = codec.decode(scales)
    np.testing.assert_allclose(people.scores, [score for score, _ in wanted], atol=1e-6)
    assert people.tags.shape == (len(wanted), 3)
    first = AssociativeEmbedding(32, five_keypoints, (4,), mode="paper", unbiased=unbiased).decode(scales)
    assert first.tags.shape[1] == 1


def test_fast_mode_takes_the_tags_of_all_scales_too(five_keypoints):
    rng = np.random.default_rng(2)
    scales = [random_maps(rng, (4, 2), side, side) for side in (6, 12)]
    people = AssociativeEmbedding(32, five_keypoints, scale_tags="all").decode(scales)
    again = AssociativeEmbedding(32, five_keypoints).decode(scales)
    assert people.tags.shape[1] == 2
    assert again.tags.shape[1] == 1
    alone = AssociativeEmbedding(32, five_keypoints, scale_tags="all").decode(scales[:1])
    assert_same(alone, AssociativeEmbedding(32, five_keypoints).decode(scales[0]))


# Stride 2.


@pytest.mark.parametrize("seed", range(6))
def test_stride_2_in_paper_mode_equals_the_oracle(five_keypoints, seed):
    maps = random_maps(np.random.default_rng(seed), (2,), 8, 10)
    codec = AssociativeEmbedding(32, five_keypoints, (2,), (2,), mode="paper")
    assert codec.output_names == ("heat2", "tag2")
    tags = oracle.resize(maps.tag2, 16, 20)[None]
    assert_as_oracle(
        codec.decode(maps), oracle.decode(oracle.resize(maps.heat2, 16, 20), tags, codec.meta.order)
    )


@pytest.mark.parametrize("options", [{}, {"place_weight": 1.5, "pair_ratio": 0.5}, {"dist_reweight": True}])
def test_stride_2_in_fast_mode_is_stride_4_at_half_the_size(five_keypoints, options):
    maps = random_maps(np.random.default_rng(0), (2,), 12, 16)
    people = AssociativeEmbedding(32, five_keypoints, (2,), (2,), **options).decode(maps)
    wide = AssociativeEmbedding(32, five_keypoints, (4,), **options).decode(Maps(maps.heat2, maps.tag2))
    assert len(people) == len(wide) > 2
    np.testing.assert_allclose(2 * people.keypoints, wide.keypoints, atol=1e-4)
    np.testing.assert_array_equal(people.keypoint_scores, wide.keypoint_scores)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("geometry", [{}, {"unbiased": True}, {"cell_offset": 0.0}])
def test_candidates_at_stride_2_give_the_same_people(five_keypoints, seed, geometry):
    maps = random_maps(np.random.default_rng(seed), (2,), 16, 18, num_tags=1 + seed % 2)
    codec = AssociativeEmbedding(
        32, five_keypoints, (2,), (2,), fill_missing=False, max_candidates=20, **geometry
    )
    peaks = PeakExtractor(20, K)(Maps(*(None if m is None else torch.from_numpy(m)[None] for m in maps)))
    found = codec.decode_peaks(PeakMaps(*(field[0].numpy() for field in peaks)), (36, 32))
    assert_same(found, codec.decode(maps))
    assert len(found) > 2


@pytest.mark.parametrize("mode", ["fast", "paper"])
@pytest.mark.parametrize(
    ("geometry", "limit"), [({}, 1.0), ({"cell_offset": 0.0}, 1.0), ({"unbiased": True}, 0.3)]
)
def test_people_come_back_from_stride_2(five_keypoints, rng, mode, geometry, limit):
    codec = AssociativeEmbedding(128, five_keypoints, (2,), (2,), mode=mode, **geometry)
    keypoints = rng.uniform(8, 119, (1, K, 2)).astype(np.float32)
    targets = codec.encode(keypoints, np.full((1, K), 2))
    assert set(targets) == {"heat2", "mask2", "tag_index2"}
    assert targets["heat2"].shape == (K, 64, 64)
    assert targets["heat2"].reshape(K, -1).argmax(axis=1).tolist() == targets["tag_index2"][0].tolist() or (
        "unbiased" in geometry
    )
    people = codec.decode(Maps(heat2=targets["heat2"], tag2=np.zeros((K, 64, 64), np.float32)))
    # Enlarged peaks of whole pixels are flat: in paper mode each pixel of the top counts, as for other strides.
    assert len(people) == 1 or mode == "paper"
    assert np.abs(people.keypoints[:1] - keypoints).max() < limit + 0.3


@pytest.mark.parametrize(("cell_offset", "wanted"), [(0.5, 15.0), (0.25, 14.5), (0.0, 14.0)])
def test_a_lit_pixel_is_decoded_where_the_offset_says(five_keypoints, cell_offset, wanted):
    codec = AssociativeEmbedding(32, five_keypoints, (2,), (2,), cell_offset=cell_offset)
    assert codec.to_map(np.array([13.0, 14.0, 15.0]), 2, (32, 32)).tolist() == {
        0.5: [6, 7, 7], 0.25: [6, 7, 7], 0.0: [7, 7, 8]
    }[cell_offset]  # fmt: skip
    heat = np.zeros((K, 16, 16), np.float32)
    heat[:, 5, 7] = 1
    for one in (
        codec,
        AssociativeEmbedding(32, five_keypoints, (2,), (2,), cell_offset=cell_offset, mode="paper"),
    ):
        people = one.decode(Maps(heat2=heat, tag2=np.zeros_like(heat)))
        # In paper mode, of two equal pixels of the input the left one, moved by a quarter.
        np.testing.assert_allclose(people.keypoints[0, :, 0], wanted, atol=0 if one is codec else 0.76)


# DARK.


def dark_oracle(heatmap, x, y):
    """Refine one pixel as the papers' code does, with whole maps."""
    log = cv2.GaussianBlur(heatmap, (3, 3), 0)
    log = np.pad(np.log(np.clip(log, 0.001, 50)).astype(np.float64), 1, mode="edge")

    def at(dy, dx):
        return log[y + 1 + dy, x + 1 + dx]

    slope = np.array([at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)]) / 2
    xx, yy = at(0, 1) - 2 * at(0, 0) + at(0, -1), at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    xy = (at(1, 1) - at(0, 1) - at(1, 0) + 2 * at(0, 0) - at(0, -1) - at(-1, 0) + at(-1, -1)) / 2
    curvature = np.array([[xx, xy], [xy, yy]]) + np.finfo(np.float32).eps * np.eye(2)
    move = np.linalg.inv(curvature) @ slope
    return np.array([x, y]) - (move if np.abs(move).max() <= MAX_MOVE else 0)


def test_dark_equals_its_definition(rng):
    heat = np.abs(rng.normal(0, 0.3, (3, 12, 15))).astype(np.float32)
    ys, xs = (a.ravel() for a in np.mgrid[:12, :15])
    for k in range(3):
        found = dark_peak(heat, np.full(len(ys), k), ys, xs)
        wanted = np.array([dark_oracle(heat[k], x, y) for x, y in zip(xs, ys)])
        np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert (found != np.stack([xs, ys], axis=-1)).any(axis=1).mean() > 0.5


def test_dark_finds_the_middle_of_a_gaussian():
    yy, xx = np.mgrid[:20, :24]
    heat = np.exp(-((xx - 9.3) ** 2 + (yy - 11.6) ** 2) / 32).astype(np.float32)[None]
    np.testing.assert_allclose(
        dark_peak(heat, np.array([0]), np.array([12]), np.array([9])), [[9.3, 11.6]], atol=0.02
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 2)])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e15, -1e15])
def test_dark_leaves_flat_maps_alone(shape, value):
    heat = np.full((1, *shape), value, np.float32)
    ys, xs = (a.ravel() for a in np.mgrid[: shape[0], : shape[1]])
    found = dark_peak(heat, np.zeros(len(ys), int), ys, xs)
    np.testing.assert_array_equal(found, np.stack([xs, ys], axis=-1))


def test_dark_moves_peaks_and_not_filled_keypoints(five_keypoints):
    maps = random_maps(np.random.default_rng(5))
    quarter, dark = (
        AssociativeEmbedding(32, five_keypoints, mode="paper", unbiased=True, refine=refine).decode(maps)
        for refine in ("quarter", "dark")
    )
    np.testing.assert_array_equal(quarter.keypoint_scores, dark.keypoint_scores)
    found = AssociativeEmbedding(32, five_keypoints, mode="paper", unbiased=True, fill_missing=False).decode(
        maps
    )
    filled = (found.keypoint_scores == 0) & (quarter.keypoint_scores > 0)
    np.testing.assert_array_equal(quarter.keypoints[filled], dark.keypoints[filled])
    moved = np.abs(quarter.keypoints - dark.keypoints)[found.keypoint_scores > 0]
    assert 0 < moved.max() <= MAX_MOVE + 0.25


# dist_reweight.


def open_model_zoo_rule(scores, tags, places, offsets, order):
    """The rule, one candidate and one person at a time; people as dicts of type to candidate."""
    from scipy.optimize import linear_sum_assignment

    people = []
    for k in order:
        candidates = range(offsets[k], offsets[k + 1])
        joined = {}
        if people and len(candidates):
            apart = np.array([
                [np.linalg.norm(places[c] - np.mean([places[m] for m in person.values()], axis=0)) for person in people]
                for c in candidates
            ])  # fmt: skip
            distance = np.array([
                [np.linalg.norm(tags[c] - np.mean([tags[m] for m in person.values()], axis=0)) for person in people]
                for c in candidates
            ])  # fmt: skip
            counted = distance.copy()
            for row in range(len(candidates)):
                for column in range(len(people)):
                    if distance[row, column] < 1:
                        counted[row, column] *= apart[row, column] / (apart[:, column].min() + 1e-10)
            cost = np.round(counted) * 100 - scores[offsets[k] : offsets[k + 1], None]
            for row, column in zip(*linear_sum_assignment(cost)):
                if distance[row, column] < 1:
                    joined[candidates[row]] = people[column]
        for candidate in candidates:
            if candidate in joined:
                joined[candidate][k] = candidate
            else:
                people.append({k: candidate})
    return people


@pytest.mark.parametrize("seed", range(20))
def test_dist_reweight_is_open_model_zoos_rule(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 7, K)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    scores, tags = rng.random(offsets[-1]), rng.normal(0, 1, (offsets[-1], 1 + seed % 2))
    places = rng.uniform(0, 100, (offsets[-1], 2))
    order = rng.permutation(K)
    groups = group_candidates(scores, tags, offsets, order, 1.0, places)
    found = [{k: offsets[k] + c for k, c in enumerate(row) if c >= 0} for row in groups.candidate.tolist()]
    assert found == open_model_zoo_rule(scores, tags, places, offsets, order)


def test_dist_reweight_prefers_the_near_one_of_two_candidates_with_like_tags(five_keypoints):
    heat, tags = np.zeros((K, 16, 16), np.float32), np.zeros((K, 16, 16), np.float32)
    heat[0, 4, 4] = 0.9
    heat[1, 4, 7], heat[1, 12, 12] = 0.4, 0.8  # the far one is higher
    tags[1] = 0.4
    plain, near = (
        AssociativeEmbedding(
            32, five_keypoints, (2,), (2,), dist_reweight=reweight, fill_missing=False
        ).decode(Maps(heat2=heat, tag2=tags))
        for reweight in (False, True)
    )
    assert plain.keypoints[0, 1].tolist() == [25, 25]
    assert near.keypoints[0, 1].tolist() == [15, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": "twice"}, "resize: expected 'direct' or 'two_step', got 'twice'"),
        ({"refine": None}, "refine: expected 'quarter' or 'dark', got None"),
        ({"scale_tags": "last"}, "scale_tags: expected 'first' or 'all', got 'last'"),
        ({"strides": (2,)}, r"tag_strides: expected \(2,\) with strides \(2,\), got \(4,\)"),
        (
            {"tag_strides": (2,)},
            r"tag_strides: expected \(4,\) or \(4, 2\) with strides \(4, 2\), got \(2,\)",
        ),
        ({"cell_offset": 0.0}, "cell_offset: expected 0.5 with unbiased targets or two levels, got 0.0"),
        ({"cell_offset": 1.5}, "cell_offset: expected a number from 0 to 1, got 1.5"),
    ],
)
def test_wrong_options_are_named(five_keypoints, arguments, message):
    with pytest.raises(ValueError, match=message):
        AssociativeEmbedding(32, five_keypoints, **arguments)
