"""In ``fast`` mode, left and right at one place are separated, and crossed limbs uncrossed."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.sides import filled_after, paired_limbs
from ehrpose.config import load_config, resolve
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import Maps, PeakMaps

SIDE = 128
LEGS = {
    "dataset_name": "legs",
    "names": ["left_hip", "right_hip", "left_knee", "right_knee"],
    "swap": [["left_hip", "right_hip"], ["left_knee", "right_knee"]],
    "skeleton": [["left_hip", "right_hip"], ["left_hip", "left_knee"], ["right_hip", "right_knee"]],
    "sigmas": [0.1, 0.1, 0.08, 0.08],
}
# A person whose left side is on the right; x and y on the stride-2 map.
LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE = (40, 10), (24, 10), (42, 40), (22, 40)


def legs_maps(peaks, tags=None):
    """Maps with peaks of type, place and height; tags 0, or those given for columns from a place on (stride 4)."""
    heat2, heat4 = (np.zeros((4, SIDE // s, SIDE // s), np.float32) for s in (2, 4))
    tag4 = np.zeros((4, SIDE // 4, SIDE // 4), np.float32)
    for k, (x, y), height in peaks:
        heat2[k, y, x], heat4[k, y // 2, x // 2] = height, height
    for first_column, value in tags or ():
        tag4[:, :, first_column:] = value
    return Maps(heat4, tag4, heat2)


def decode(maps, **options):
    people = AssociativeEmbedding(SIDE, LEGS, unbiased=True, **{"pair_ratio": 0.5, **options}).decode(maps)
    # Unbiased positions are map px times (input - 1) / (map - 1): undo it.
    places = people.keypoints * ((SIDE // 2 - 1) / (SIDE - 1))
    return np.rint(places).astype(int).tolist(), people


HIPS = [(0, LEFT_HIP, 0.9), (1, RIGHT_HIP, 0.9)]
# Both maps are high at both knees, slightly higher at the right one.
BOTH_AT_BOTH = [*HIPS, (2, LEFT_KNEE, 0.4), (2, RIGHT_KNEE, 0.5), (3, LEFT_KNEE, 0.4), (3, RIGHT_KNEE, 0.5)]


def test_pairs_of_coco_follow_the_limbs():
    meta = KeypointMeta.build(resolve(load_config("configs/ehrnet/small_coco-320.py")).keypoints)
    named = [tuple(meta.names[k] for k in pair) for pair in paired_limbs(meta)]
    assert ("left_knee", "right_knee", "left_hip", "right_hip") in named
    assert ("left_ankle", "right_ankle", "left_knee", "right_knee") in named
    assert ("left_wrist", "right_wrist", "left_elbow", "right_elbow") in named
    assert len(named) == 7
    done = {"left_eye", "right_eye"}  # connected to the nose only
    for left, right, left_end, right_end in named:
        assert {left_end, right_end} <= done
        done |= {left, right}
    assert done == set(meta.names) - {"nose"}


def test_pairs_without_a_mirrored_limb_have_no_ends():
    crossed = dict(LEGS, skeleton=[["left_hip", "left_knee"], ["left_hip", "right_knee"]])
    assert paired_limbs(KeypointMeta.build(crossed)) == ()
    assert paired_limbs(KeypointMeta.build(dict(LEGS, swap=[]))) == ()
    assert paired_limbs(KeypointMeta.build(LEGS)) == ((2, 3, 0, 1),)


def test_both_at_one_place_get_a_place_each_on_their_own_side():
    places, plain = decode(legs_maps(BOTH_AT_BOTH), pair_ratio=None)
    assert places[0] == [list(p) for p in (LEFT_HIP, RIGHT_HIP, RIGHT_KNEE, RIGHT_KNEE)]
    places, people = decode(legs_maps(BOTH_AT_BOTH))
    assert places[0] == [list(p) for p in (LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE)]
    moved, before = people.keypoint_scores[0], plain.keypoint_scores[0]
    assert moved[[0, 1, 3]].tolist() == before[[0, 1, 3]].tolist()
    assert 0.2 < moved[2] < before[2] - 0.05
    assert people.scores[0] == plain.scores[0]
    # The same for the mirror image.
    mirrored = [(k ^ 1, (SIDE // 2 - 1 - x, y), height) for k, (x, y), height in BOTH_AT_BOTH]
    places, _ = decode(legs_maps(mirrored))
    assert places[0] == [[SIDE // 2 - 1 - x, y] for x, y in (RIGHT_HIP, LEFT_HIP, RIGHT_KNEE, LEFT_KNEE)]


def test_scores_that_tell_left_from_right_decide_even_if_legs_cross():
    crossed = [*HIPS, (2, RIGHT_KNEE, 0.9), (3, LEFT_KNEE, 0.9), (2, LEFT_KNEE, 0.2), (3, RIGHT_KNEE, 0.2)]
    wanted = [list(p) for p in (LEFT_HIP, RIGHT_HIP, RIGHT_KNEE, LEFT_KNEE)]
    assert decode(legs_maps(crossed))[0][0] == wanted
    # Crossed with low confidence: limbs decide, unless their weight is 0.
    unsure = [(k, place, 0.5 if height == 0.9 else 0.45) for k, place, height in crossed[2:]]
    assert decode(legs_maps(HIPS + unsure))[0][0] == [
        list(p) for p in (LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE)
    ]
    assert decode(legs_maps(HIPS + unsure), limb_weight=0.0)[0][0] == wanted


def test_legs_at_one_place_stay_without_a_second_place():
    alone = [*HIPS, (2, RIGHT_KNEE, 0.5), (3, RIGHT_KNEE, 0.5)]
    wanted = [list(p) for p in (LEFT_HIP, RIGHT_HIP, RIGHT_KNEE, RIGHT_KNEE)]
    assert decode(legs_maps(alone))[0][0] == wanted
    # Too low for the ratio; then high enough.
    faint = [*alone, (2, LEFT_KNEE, 0.2), (3, LEFT_KNEE, 0.2)]
    assert decode(legs_maps(faint))[0][0] == wanted
    assert decode(legs_maps(faint), pair_ratio=0.3)[0][0][2] == list(LEFT_KNEE)
    # Has the person's tag, but is too far away.
    near, far = (26, 24), (60, 62)
    places = [*HIPS, (2, near, 0.5), (3, near, 0.5), (2, far, 0.5), (3, far, 0.5)]
    assert decode(legs_maps(places))[0][0] == [list(p) for p in (LEFT_HIP, RIGHT_HIP, near, near)]


def test_another_persons_knee_is_not_taken():
    alone = [*HIPS, (2, RIGHT_KNEE, 0.5), (3, RIGHT_KNEE, 0.5)]
    others = [(2, LEFT_KNEE, 0.4), (3, LEFT_KNEE, 0.4)]
    # Tags are 9 from column 41 of the stride-2 map on; the left hip's own is 0.
    places, people = decode(legs_maps(alone + others, tags=[(LEFT_KNEE[0] // 2, 9.0)]), fill_missing=False)
    assert len(people.scores) == 2
    assert places[0] == [list(p) for p in (LEFT_HIP, RIGHT_HIP, RIGHT_KNEE, RIGHT_KNEE)]


def test_a_better_persons_knee_is_not_taken_though_tags_are_alike():
    # Next to the first person a second one with similar tags, whose knees coincide.
    first = [(0, (40, 10), 0.9), (1, (24, 10), 0.9), (2, (42, 40), 0.9), (3, (22, 40), 0.9)]
    second = [(0, (60, 10), 0.6), (1, (52, 10), 0.6), (2, (56, 40), 0.5), (3, (56, 40), 0.5)]
    tags = [(24, 0.8)]  # from column 48 of stride 2 on: within max_tag_dist of the first person's
    two = legs_maps(first + second, tags=tags)
    places, plain = decode(two, pair_ratio=None, fill_missing=False)
    assert len(places) == 2
    assert plain.scores[0] > plain.scores[1]
    assert places[1][2] == places[1][3] == [56, 40]
    # The person's own other knee, if present, would be taken; the first person's is not.
    own = [(2, (50, 40), 0.4), (3, (50, 40), 0.4)]
    assert decode(legs_maps(first + second + own, tags=tags), fill_missing=False)[0][1][3] == [50, 40]
    assert decode(two, fill_missing=False)[0] == places
    # The order of scores counts: with scores swapped, the first one's knees are free.
    swapped = [(k, place, 0.4) for k, place, _ in first]
    swapped += [(0, (60, 10), 0.9), (1, (52, 10), 0.9), (2, (56, 40), 0.4), (3, (56, 40), 0.4)]
    places, _ = decode(legs_maps(swapped, tags=tags), fill_missing=False, pair_ratio=0.3)
    assert places[0][:2] == [[60, 10], [52, 10]]
    assert places[0][3] == [22, 40]


def test_missing_keypoints_stay_missing():
    for lacking in range(4):
        peaks = [peak for peak in BOTH_AT_BOTH if peak[0] != lacking]
        plain = decode(legs_maps(peaks), pair_ratio=None, fill_missing=False)[1]
        people = decode(legs_maps(peaks), fill_missing=False)[1]
        np.testing.assert_array_equal(people.keypoints[0], plain.keypoints[0])
        assert people.keypoint_scores[0, lacking] == 0


def test_no_people_and_no_pairs():
    assert len(decode(legs_maps([]))[1].scores) == 0
    unpaired = dict(LEGS, swap=[])
    people = AssociativeEmbedding(SIDE, unpaired, unbiased=True, pair_ratio=0.5).decode(
        legs_maps(BOTH_AT_BOTH)
    )
    plain = AssociativeEmbedding(SIDE, unpaired, unbiased=True).decode(legs_maps(BOTH_AT_BOTH))
    np.testing.assert_array_equal(people.keypoints, plain.keypoints)


@pytest.mark.parametrize("seed", range(6))
def test_candidates_of_an_exported_network_decode_to_the_same(seed):
    torch = pytest.importorskip("torch")
    from ehrpose.deploy.export.peaks import PeakExtractor

    rng = np.random.default_rng(seed)
    heat4, heat2, tag4 = (rng.normal(0, 0.15, (4, s, s)).astype(np.float32) for s in (16, 32, 16))
    heat2 += (rng.random(heat2.shape) < 0.02) * rng.random(heat2.shape).astype(np.float32)
    maps = Maps(heat4, tag4, heat2)
    options = {"unbiased": True, "fill_missing": False}
    plain = AssociativeEmbedding(64, LEGS, **options).decode(maps)
    codec = AssociativeEmbedding(64, LEGS, pair_ratio=0.3, **options)
    wanted = codec.decode(maps)
    fields = PeakExtractor(30, 4)(Maps(*(None if f is None else torch.from_numpy(f)[None] for f in maps)))
    found = codec.decode_peaks(PeakMaps(*(field[0].numpy() for field in fields)), (64, 64))
    assert (wanted.keypoints != plain.keypoints).any()
    for name in ("keypoints", "keypoint_scores", "scores", "tags"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


def test_filled_follows_a_keypoint_to_the_other_side():
    before = np.arange(16, dtype=np.float32).reshape(2, 4, 2)
    after, filled = before.copy(), np.array([[True, False, False, False], [False, False, True, False]])
    after[0, [0, 1]] = before[0, [1, 0]]  # swapped
    after[1, 2] = 99  # moved to another candidate
    found = filled_after(filled, before, after, ((0, 1, 2, 3), (2, 3, 0, 1)))
    assert found.tolist() == [[False, True, False, False], [False] * 4]
    assert filled_after(filled, before, after, ()) is filled
