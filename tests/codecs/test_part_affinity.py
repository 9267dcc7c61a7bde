"""The part-affinity codec: targets, decoding in both modes, candidates, mirroring."""

from __future__ import annotations

import cv2
import numpy as np
import part_oracle
import pytest

from ehrpose.codecs import part_fast, part_paper
from ehrpose.codecs.accelerator import kernels
from ehrpose.codecs.part_affinity import PartAffinity
from ehrpose.structures import FieldMaps, FieldPeaks

SIDE = 160


def codec_of(keypoints, **options):
    return PartAffinity(SIDE, keypoints, **{"parts": "coco-18", **options})


def scene(rng, num_people=3, side=SIDE, missing=0.1):
    """Keypoints (N, 17, 2) of figures with all keypoints apart, and their visibility."""
    figure = np.array([
        [50, 8], [54, 4], [46, 4], [60, 8], [40, 8], [70, 28], [30, 28], [80, 48], [20, 48], [84, 68], [16, 68],
        [62, 70], [38, 70], [64, 100], [36, 100], [66, 128], [34, 128],
    ], np.float64)  # fmt: skip
    people = []
    for _ in range(num_people):
        scale = rng.uniform(0.5, 1.1)
        size = scale * np.ptp(figure, axis=0)
        at = rng.uniform(4, np.maximum(side - size - 4, 5))
        people.append((figure - figure.min(axis=0)) * scale + at + rng.normal(0, 1, figure.shape))
    visible = np.where(rng.random((num_people, 17)) < missing, 0, 2)
    return np.array(people).reshape(-1, 17, 2), visible


def noisy(maps, rng, size):
    return FieldMaps(*(m + size * rng.standard_normal(m.shape).astype(np.float32) for m in maps))


def random_maps(rng, side=SIDE // 8):
    """Maps of nothing but noise, with many candidates and pairs."""
    heat = rng.uniform(-0.2, 0.9, (19, side, side)).astype(np.float32)
    return FieldMaps(heat, rng.normal(0.4, 0.6, (38, side, side)).astype(np.float32))


# ---- targets


def test_heatmaps_are_sums_of_gaussians_cut_off_and_the_background_is_what_is_left(coco_keypoints):
    codec = codec_of(coco_keypoints)
    keypoints, visible = np.zeros((2, 17, 2)), np.zeros((2, 17), int)
    keypoints[:, 0], visible[:, 0] = [[43.5, 43.5], [52, 43.5]], 2
    targets = codec.encode(keypoints, visible)
    heat = targets["heat"]
    assert heat.shape == (19, 20, 20)
    for y in range(20):
        for x in range(20):
            total = 0.0
            for px, py in keypoints[:, 0]:
                exponent = ((8 * x + 3.5 - px) ** 2 + (8 * y + 3.5 - py) ** 2) / (2 * 7**2)
                total += np.exp(-exponent) if exponent <= 4.6052 else 0
            assert heat[0, y, x] == pytest.approx(min(total, 1), abs=1e-6)
    assert heat[0, 5, 5] == 1
    assert heat[0, 5, 6] == 1
    np.testing.assert_allclose(heat[18], 1 - heat[:18].max(axis=0), atol=1e-6)
    assert not heat[1:18].any()
    assert targets["mask"].min() == 1


def test_the_neck_is_between_two_labelled_shoulders(coco_keypoints):
    codec = codec_of(coco_keypoints)
    keypoints, visible = np.zeros((2, 17, 2)), np.zeros((2, 17), int)
    keypoints[:, 5], keypoints[:, 6] = [100, 43.5], [67, 43.5]
    visible[0, [5, 6]], visible[1, 5] = 2, 2
    maps = codec.ideal_maps(keypoints, visible, (SIDE, SIDE))
    assert np.unravel_index(maps.heat[1].argmax(), (20, 20)) == (5, 10)
    assert codec.layout.names == tuple(part_oracle.NAMES)
    # Neck to right shoulder: to the left, on three rows.
    channel = part_oracle.LIMBS[0][2]
    assert maps.field[channel].min() == -1
    assert not maps.field[channel + 1].any()
    assert np.flatnonzero(maps.field[channel].any(axis=1)).tolist() == [4, 5, 6]
    only_one = codec.ideal_maps(keypoints[1:], visible[1:], (SIDE, SIDE))
    assert not only_one.heat[1].any()
    assert not only_one.field.any()


def test_fields_are_unit_vectors_and_the_last_person_wins(coco_keypoints):
    codec = codec_of(coco_keypoints)
    keypoints, visible = np.zeros((2, 17, 2)), np.zeros((2, 17), int)
    keypoints[:, 7], keypoints[0, 9], keypoints[1, 9] = [80, 80], [120, 120], [120, 40]
    visible[:, [7, 9]] = 2
    channel = next(c for a, b, c in part_oracle.LIMBS if (a, b) == (6, 7))
    field = codec.ideal_maps(keypoints, visible, (SIDE, SIDE)).field
    length = np.hypot(field[channel], field[channel + 1])
    assert set(np.round(np.unique(length), 5)) == {0, 1}
    one, other = (
        codec.ideal_maps(keypoints[i : i + 1], visible[i : i + 1], (SIDE, SIDE)).field for i in (0, 1)
    )
    covered = other[channel] != 0
    np.testing.assert_array_equal(field[channel + 1], np.where(covered, other[channel + 1], one[channel + 1]))
    assert (covered & (one[channel] != 0)).any()


def test_the_mask_and_other_shapes(coco_keypoints):
    codec = codec_of(coco_keypoints)
    mask = np.ones((SIDE, SIDE), np.uint8)
    mask[:80] = 0
    targets = codec.encode(np.zeros((0, 17, 2)), np.zeros((0, 17)), mask)
    assert targets["mask"].sum() == 200
    assert targets["heat"][18].min() == 1
    with pytest.raises(ValueError, match=r"loss_mask: expected shape \(160, 160\), got \(4, 4\)"):
        codec.encode(np.zeros((0, 17, 2)), np.zeros((0, 17)), mask[:4, :4])
    with pytest.raises(ValueError, match=r"expected keypoints \(N, 17, 2\)"):
        codec.encode(np.zeros((1, 5, 2)), np.zeros((1, 5)))


# ---- paper


@pytest.mark.parametrize("seed", range(9))
def test_paper_finds_the_people_of_the_oracle(coco_keypoints, seed):
    rng = np.random.default_rng(seed)
    codec = codec_of(coco_keypoints, mode="paper")
    # Noise on the enlarged maps is the hardest: clusters of peaks, of which the leftmost stays.
    side = 48 if seed == 8 else SIDE
    small = (
        random_maps(rng, 6)
        if seed == 8
        else codec.ideal_maps(*scene(rng, min(seed, 1 + seed % 4)), (SIDE, SIDE))
    )
    if seed % 3 == 1:
        small = noisy(small, rng, 0.05)
    heat, field = (part_paper.enlarged(m, (side, side)) for m in (small.heat[:18], small.field))
    if seed % 3 == 2:
        heat, field = noisy(FieldMaps(heat, field), rng, [0.01, 0.015, 0.03][seed // 3])
    found = part_paper.find_people(heat, field, codec.layout, codec.settings)
    expected = part_oracle.decode(heat, field)
    assert len(found) == len(expected)
    assert seed == 0 or len(found)  # the first has nobody
    for n, (score, keypoints) in enumerate(expected):
        assert found.scores[n] == pytest.approx(score, rel=1e-6)
        assert set(np.flatnonzero(found.keypoint_scores[n])) == set(keypoints)
        for k, (x, y, value) in keypoints.items():
            assert (*found.keypoints[n, k], found.keypoint_scores[n, k]) == (x, y, np.float32(value))
    if seed % 3 == 0:
        same = codec.decode(small)
        np.testing.assert_array_equal(same.keypoints, found.keypoints)


def test_maps_are_enlarged_bicubically(coco_keypoints, rng):
    maps = random_maps(rng)
    large = part_paper.enlarged(maps.heat, (SIDE, SIDE))
    np.testing.assert_array_equal(
        large[3], cv2.resize(maps.heat[3], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    )


# ---- fast


def test_fast_finds_positions_of_ideal_maps_exactly(coco_keypoints, rng):
    codec = codec_of(coco_keypoints)
    keypoints, visible = scene(rng, 1, missing=0)
    people = codec.decode(codec.ideal_maps(keypoints, visible, (SIDE, SIDE)))
    assert len(people) == 1
    inner = (keypoints[0] > 8).all(axis=1) & (keypoints[0] < SIDE - 9).all(axis=1)
    np.testing.assert_allclose(people.keypoints[0][inner], keypoints[0][inner], atol=1e-3)
    assert (people.keypoint_scores > 0).all()


def test_noise_does_not_add_people(coco_keypoints):
    rng = np.random.default_rng(3)
    codec = PartAffinity(368, coco_keypoints, parts="coco-18")
    figures = [
        scene(rng, 1, 150, missing=0)[0] + offset for offset in ((0, 0), (180, 0), (0, 180), (190, 190))
    ]
    keypoints = np.concatenate(figures)
    maps = codec.ideal_maps(keypoints, np.full((4, 17), 2), (368, 368))
    for size in (0.0, 0.01, 0.05):
        people = codec.decode(noisy(maps, rng, size))
        assert len(people) == 4
        nearest = np.linalg.norm(people.keypoints[:, None] - keypoints, axis=3).mean(axis=2).min(axis=1)
        assert nearest.max() < 3


def test_the_highest_of_a_cluster_wins(coco_keypoints, rng):
    codec = codec_of(coco_keypoints)
    maps = codec.ideal_maps(*scene(rng, 1, missing=0), (SIDE, SIDE))
    before = codec.decode(maps)
    y, x = np.unravel_index(maps.heat[0].argmax(), (20, 20))
    maps.heat[0, y, max(x - 2, 0)] = 0.5
    after = codec.decode(maps)
    assert len(before) == len(after) == 1
    assert np.abs(before.keypoints - after.keypoints).max() < 1


@pytest.mark.parametrize("seed", range(8))
def test_compiled_loops_are_bit_identical(coco_keypoints, monkeypatch, seed):
    pytest.importorskip("ehrpose.codecs.compiled.part_kernels", reason="numba is not installed")
    rng = np.random.default_rng(seed)
    codec = codec_of(coco_keypoints, min_share=[0.8, 0.5][seed % 2], min_parts=1 + seed % 3)
    maps = random_maps(rng) if seed % 2 else noisy(codec.ideal_maps(*scene(rng), (SIDE, SIDE)), rng, 0.05)
    answers = []
    for switch in ("1", "0"):
        monkeypatch.setenv("EHRPOSE_NUMBA", switch)
        kernels.cache_clear()
        assert (kernels("part_kernels") is None) == (switch == "0")
        answers.append(codec.decode(maps))
    monkeypatch.undo()
    kernels.cache_clear()
    for one, other in zip(*(vars(people).values() for people in answers)):
        np.testing.assert_array_equal(one, other)
    assert len(answers[0])


def test_every_compiled_loop_is_used():
    module = pytest.importorskip("ehrpose.codecs.compiled.part_kernels", reason="numba is not installed")
    assert all(hasattr(part_fast, f"_{name}") for name in module.__all__)


def test_a_person_never_gets_two_candidates_of_one_part(coco_keypoints):
    for seed in range(5):
        codec = codec_of(coco_keypoints, min_parts=1, min_person_score=0)
        people = codec.decode(random_maps(np.random.default_rng(seed)))
        for k in range(17):
            places = people.keypoints[people.keypoint_scores[:, k] > 0, k]
            assert len(np.unique(places, axis=0)) == len(places)


def test_pieces_of_a_person_without_a_neck_are_joined(coco_keypoints, rng):
    keypoints, visible = scene(rng, 1, missing=0)
    visible[0, 5] = 0  # no left shoulder, so no neck: arms, legs and head have no limbs in common
    for options, count in (({"piece_distance": 0}, 4), ({}, 1)):
        codec = codec_of(coco_keypoints, min_parts=2, **options)
        people = codec.decode(codec.ideal_maps(keypoints, visible, (SIDE, SIDE)))
        assert len(people) == count
    assert (people.keypoint_scores[0] > 0).sum() == 16
    two, seen = np.concatenate([keypoints, keypoints + np.array([0.0, 200.0])]), np.repeat(visible, 2, axis=0)
    people = codec.decode(codec.ideal_maps(two, seen, (SIDE, 400)))
    assert len(people) == 2


def test_several_scales_are_averaged(coco_keypoints, rng):
    codec = codec_of(coco_keypoints)
    people = scene(rng, 2)
    maps = codec.ideal_maps(*people, (SIDE, SIDE))
    larger = codec.ideal_maps(people[0] * 2 + 0.5, people[1], (2 * SIDE, 2 * SIDE))
    assert len(codec.decode([maps, larger])) == len(codec.decode(maps))
    with pytest.raises(ValueError, match="at least one scale"):
        codec.decode([])


# ---- candidates


@pytest.mark.parametrize("seed", range(6))
def test_candidates_give_the_people_of_fast_mode(coco_keypoints, seed):
    pytest.importorskip("torch")
    from ehrpose.deploy.export.onnx import torch_peaks

    rng = np.random.default_rng(seed)
    codec = codec_of(coco_keypoints, max_candidates=[20, 30][seed % 2])
    maps = random_maps(rng) if seed > 3 else noisy(codec.ideal_maps(*scene(rng), (SIDE, SIDE)), rng, 0.03)
    wanted = codec.decode(maps)
    peaks = torch_peaks(maps, codec)
    assert isinstance(peaks, FieldPeaks)
    assert peaks.part_pixels.dtype == np.int32
    found = codec.decode_peaks(peaks, (SIDE, SIDE))
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose(found.keypoints, wanted.keypoints, atol=1e-3)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)
    with pytest.raises(ValueError, match="decoding candidates: expected mode 'fast'"):
        codec_of(coco_keypoints, mode="paper").decode_peaks(peaks, (SIDE, SIDE))
    with pytest.raises(ValueError, match="part_pixels: expected 0 to 15"):
        codec.decode_peaks(peaks._replace(part_pixels=peaks.part_pixels + 16), (32, 32))
    with pytest.raises(ValueError, match="pair_scores: expected shape"):
        codec.decode_peaks(peaks._replace(pair_scores=peaks.pair_scores[1:]), (SIDE, SIDE))


# ---- mirroring


@pytest.mark.parametrize("parts", ["coco-18", None])
def test_mirrored_maps_become_those_of_the_photo(coco_keypoints, rng, parts):
    codec = PartAffinity(SIDE, coco_keypoints, parts=parts)
    keypoints, visible = scene(rng, 1, missing=0.2)
    maps = codec.ideal_maps(keypoints, visible, (SIDE, SIDE))
    flip = list(codec.meta.flip_indices)
    mirrored = keypoints[:, flip] * [-1, 1] + [SIDE - 1, 0]
    other = codec.ideal_maps(mirrored, visible[:, flip], (SIDE, SIDE))
    for name, rule in codec.mirror_rules().items():
        back = getattr(other, name)[:, :, ::-1][list(rule.channels)].copy()
        back[list(rule.negated)] *= -1
        np.testing.assert_allclose(back, getattr(maps, name), atol=1e-6)
        assert not rule.concatenate


def test_finest_heat_has_the_keypoints_in_their_order(coco_keypoints, rng):
    codec = codec_of(coco_keypoints)
    maps = random_maps(rng)
    heat = codec.finest_heat(maps)
    assert heat.shape == (17, 20, 20)
    np.testing.assert_array_equal(heat[5], maps.heat[part_oracle.COCO.index(5)])
