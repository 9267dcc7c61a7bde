from __future__ import annotations

import numpy as np
import pytest

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.selection import distinct_people, far_members
from ehrpose.structures import Maps

SIGMAS = np.full(5, 0.05, np.float32)


@pytest.fixture
def person(rng):
    return rng.uniform(0, 20, (5, 2)) + 50


def test_a_keypoint_far_from_the_others_is_found(person):
    keypoints = np.stack([person, person])
    keypoints[0, 3] += 100
    present = np.ones((2, 5), bool)
    far = far_members(keypoints, present, 4.0)
    assert np.argwhere(far).tolist() == [[0, 3]]


def test_people_with_few_keypoints_keep_all(person):
    keypoints = person[None].copy()
    keypoints[0, 0] += 100
    present = np.array([[True, True, True, False, False]])
    assert not far_members(keypoints, present, 2.0).any()
    assert not far_members(keypoints, np.zeros((1, 5), bool), 2.0).any()
    assert far_members(keypoints[:0], present[:0], 2.0).shape == (0, 5)


def test_of_two_nearly_equal_people_the_better_one_stays(person):
    keypoints = np.stack([person, person + 0.3, person + 60])
    scores = np.ones((3, 5))
    assert distinct_people(keypoints, scores, SIGMAS, 0.9).tolist() == [0, 2]
    assert distinct_people(keypoints, scores, SIGMAS, 1.0).tolist() == [0, 1, 2]
    assert distinct_people(keypoints[:0], scores[:0], SIGMAS, 0.9).tolist() == []


def test_only_keypoints_that_both_have_are_compared(person):
    keypoints = np.stack([person, person])
    scores = np.ones((2, 5))
    keypoints[1, 4] += 500
    assert distinct_people(keypoints, scores, SIGMAS, 0.9).tolist() == [0, 1]
    scores[1, 4] = 0
    assert distinct_people(keypoints, scores, SIGMAS, 0.9).tolist() == [0]
    apart = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    assert distinct_people(np.stack([person, person]), apart, SIGMAS, 0.5).tolist() == [0, 1]


def split_person(tag_of_last=0.0):
    """One person with keypoints on a diagonal; the tag of the last type may differ."""
    heat2, heat4 = np.zeros((5, 32, 32), np.float32), np.zeros((5, 16, 16), np.float32)
    tags = np.zeros((5, 16, 16), np.float32)
    tags[4] = tag_of_last
    for k in range(5):
        y = x = 8 + 3 * k
        heat2[k, y, x], heat4[k, y // 2, x // 2] = 1 - 0.01 * k, 1 - 0.01 * k
    return Maps(heat4, tags, heat2)


def test_people_with_too_few_keypoints_are_dropped(five_keypoints):
    maps = split_person(tag_of_last=5.0)
    assert len(AssociativeEmbedding(64, five_keypoints, fill_missing=False).decode(maps)) == 2
    people = AssociativeEmbedding(64, five_keypoints, fill_missing=False, min_keypoints=2).decode(maps)
    assert (people.keypoint_scores > 0).sum(axis=1).tolist() == [4]
    assert len(AssociativeEmbedding(64, five_keypoints, min_keypoints=6).decode(maps)) == 0


def test_a_person_found_twice_is_given_once(five_keypoints):
    # Tags 1.2 apart: two people by the threshold of grouping, yet filling finds the same keypoints for both.
    maps = split_person(tag_of_last=1.2)
    twice = AssociativeEmbedding(64, five_keypoints).decode(maps)
    once = AssociativeEmbedding(64, five_keypoints, nms_oks=0.9).decode(maps)
    assert (len(twice), len(once)) == (2, 1)
    assert np.array_equal(once.keypoints, twice.keypoints[:1])


def test_a_far_member_is_no_member(five_keypoints):
    maps = split_person()
    maps.heat2[4], maps.heat4[4] = 0, 0
    maps.heat2[4, 30, 2], maps.heat4[4, 15, 1] = 0.9, 0.9  # someone else's
    joined = AssociativeEmbedding(64, five_keypoints).decode(maps)
    freed = AssociativeEmbedding(64, five_keypoints, max_spread=2.5, fill_missing=False).decode(maps)
    assert joined.keypoint_scores[0, 4] > 0.5
    assert freed.keypoint_scores[0, 4] == 0
    assert (freed.keypoint_scores[0, :4] > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_keypoints": 0}, "min_keypoints"),
        ({"max_spread": 1.0}, "max_spread"),
        ({"nms_oks": 1.5}, "nms_oks"),
    ],
)
def test_values_out_of_range_are_named(five_keypoints, options, message):
    with pytest.raises(ValueError, match=message):
        AssociativeEmbedding(64, five_keypoints, **options)


def test_paper_mode_leaves_the_options_off(five_keypoints):
    maps = split_person(tag_of_last=1.2)
    plain = AssociativeEmbedding(64, five_keypoints, mode="paper").decode(maps)
    options = {"min_keypoints": 3, "max_spread": 2.0, "nms_oks": 0.5}
    with_options = AssociativeEmbedding(64, five_keypoints, mode="paper", **options).decode(maps)
    assert np.array_equal(plain.keypoints, with_options.keypoints)
