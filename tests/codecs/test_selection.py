from __future__ import annotations

import math

import numpy as np
import pytest

from ehrpose.codecs import AssociativeEmbedding, selection
from ehrpose.codecs.selection import distinct_people, far_members, person_scores
from ehrpose.oks import areas_of, mean_similarity
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


@pytest.mark.parametrize("most", [0.0, 0.05, 0.5, 0.9, 1 - 1e-9, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_people_in_a_crowd_are_compared_as_one_by_one(monkeypatch, seed, most):
    rng = np.random.default_rng(seed)
    number, groups = 40, 12
    poses = rng.uniform(0, 300, (groups, 1, 2)) + rng.uniform(0, 60, (groups, 5, 2))
    noise = rng.normal(0, 1, (number, 5, 2)) * rng.choice([0, 1e-6, 0.3, 3, 30], (number, 1, 1))
    keypoints = (poses[rng.integers(groups, size=number)] + noise).astype(np.float32)
    scores = (rng.random((number, 5)) < 0.8).astype(np.float32)
    present, area = scores > 0, areas_of(keypoints, scores > 0)
    kept: list[int] = []
    for n in range(number):
        alike = [
            mean_similarity(keypoints[m], keypoints[n], area[m], SIGMAS, present[m] & present[n]) > most
            for m in kept
        ]
        if not any(alike):
            kept.append(n)
    monkeypatch.setattr(selection, "PAIRS", 16)
    assert distinct_people(keypoints, scores, SIGMAS, most).tolist() == kept


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


def test_a_person_found_twice_is_returned_once(five_keypoints):
    # Tags 1.2 apart: two people by the grouping threshold, but filling finds the same keypoints for both.
    maps = split_person(tag_of_last=1.2)
    twice = AssociativeEmbedding(64, five_keypoints).decode(maps)
    once = AssociativeEmbedding(64, five_keypoints, nms_oks=0.9).decode(maps)
    assert (len(twice), len(once)) == (2, 1)
    assert np.array_equal(once.keypoints, twice.keypoints[:1])


def test_a_far_member_is_no_member(five_keypoints):
    maps = split_person()
    maps.heat2[4], maps.heat4[4] = 0, 0
    maps.heat2[4, 30, 2], maps.heat4[4, 15, 1] = 0.9, 0.9  # another person's
    joined = AssociativeEmbedding(64, five_keypoints).decode(maps)
    freed = AssociativeEmbedding(64, five_keypoints, max_spread=2.5, fill_missing=False).decode(maps)
    assert joined.keypoint_scores[0, 4] > 0.5
    assert freed.keypoint_scores[0, 4] == 0
    assert (freed.keypoint_scores[0, :4] > 0).all()


def test_scores_are_power_means_times_a_power_of_the_size(rng):
    members = rng.uniform(0, 1, (4, 5)).astype(np.float32)
    members[0, 1:], members[1] = 0, 0
    keypoints = rng.uniform(0, 64, (4, 5, 2)).astype(np.float32)
    present = rng.random((4, 5)) < 0.7
    present[2], present[3] = [True] + 4 * [False], False
    found = person_scores(members, keypoints, present, 2.0, 0.25, 64 * 96)
    for n in range(4):
        mean = math.sqrt(sum(float(s) ** 2 for s in members[n]) / 5)
        box = [p for p, here in zip(keypoints[n], present[n]) if here]
        sides = [max(float(max(c) - min(c)), 1.0) for c in zip(*box)] or [1.0, 1.0]
        assert found[n] == pytest.approx(
            mean * (math.sqrt(sides[0] * sides[1] / (64 * 96))) ** 0.25, rel=1e-5
        )
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        person_scores(members, keypoints, present, 1, 0, 9), members.mean(axis=1), rtol=1e-6
    )
    assert person_scores(members[:0], keypoints[:0], present[:0], 2, 1, 9).shape == (0,)


def two_people(second_tag=0.0, second_scale=1):
    """Two people on diagonals in opposite corners; the second is ``second_scale`` times as large and fainter."""
    heat2, heat4 = np.zeros((5, 64, 64), np.float32), np.zeros((5, 32, 32), np.float32)
    tags = np.zeros((5, 32, 32), np.float32)
    for k in range(5):
        faint = 0.72 if k != 3 else 0.88
        for y, value in ((4 + 2 * k, 0.8), (62 - 2 * second_scale * (5 - k), faint)):
            heat2[k, y, y], heat4[k, y // 2, y // 2] = value, value
    tags[:, 17:, 17:] = second_tag
    return Maps(heat4, tags, heat2)


def test_scores_may_prefer_the_larger_person(five_keypoints):
    maps = two_people(second_tag=9.0, second_scale=2)
    plain = AssociativeEmbedding(128, five_keypoints).decode(maps)
    sized = AssociativeEmbedding(128, five_keypoints, score_power=2.0, score_size=0.5).decode(maps)
    assert len(plain) == len(sized) == 2
    np.testing.assert_array_equal(plain.keypoints, sized.keypoints[::-1])
    np.testing.assert_array_equal(plain.tags, sized.tags[::-1])
    assert np.ptp(sized.keypoints[0, :, 0]) > 1.5 * np.ptp(sized.keypoints[1, :, 0])
    # The order of the others is kept, also if missing keypoints are filled in.
    assert (np.diff(sized.scores) < 0).all()
    assert (sized.scores < 1).all()


def test_place_separates_people_with_equal_tags(five_keypoints):
    maps = two_people()
    plain = AssociativeEmbedding(128, five_keypoints, fill_missing=False).decode(maps)
    placed = AssociativeEmbedding(128, five_keypoints, fill_missing=False, place_weight=2.0).decode(maps)
    assert len(plain) == len(placed) == 2
    apart = AssociativeEmbedding(128, five_keypoints, fill_missing=False).decode(two_people(second_tag=9.0))
    # Without place, the better candidates of all types form one person.
    assert np.ptp(plain.keypoints[0, :, 0]) > 64
    np.testing.assert_array_equal(placed.keypoints, apart.keypoints)
    np.testing.assert_array_equal(placed.tags, np.zeros((2, 1)))
    # A missing type must not join them either.
    maps.heat2[2, :32, :32] = 0
    placed = AssociativeEmbedding(128, five_keypoints, fill_missing=False, place_weight=2.0).decode(maps)
    assert [int((person > 0).sum()) for person in placed.keypoint_scores] == [5, 4]
    assert np.ptp(placed.keypoints[0, :, 0]) < 32


def test_paper_mode_leaves_the_options_off(five_keypoints):
    maps = split_person(tag_of_last=1.2)
    plain = AssociativeEmbedding(64, five_keypoints, mode="paper").decode(maps)
    options = {"min_keypoints": 3, "max_spread": 2.0, "nms_oks": 0.5, "place_weight": 9.0, "score_size": 0.5}
    with_options = AssociativeEmbedding(64, five_keypoints, mode="paper", **options).decode(maps)
    assert np.array_equal(plain.keypoints, with_options.keypoints)
