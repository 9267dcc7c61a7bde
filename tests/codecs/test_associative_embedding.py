from __future__ import annotations

import numpy as np
import oracle
import pytest

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.oks import AREA_OF_BOX
from ehrpose.structures import Maps


def random_people(rng, n, size, k=5):
    keypoints = rng.uniform(2, size - 3, (n, k, 2)).astype(np.float32)
    visible = (rng.random((n, k)) < 0.8).astype(np.uint8) * 2
    return keypoints, visible


def perfect_maps(codec, keypoints, visible, gap=3.0):
    """Target heatmaps, and tags that are constant around each person's keypoints."""
    targets = codec.encode(keypoints, visible)
    cells = codec.input_size // 4
    tags = np.zeros((codec.num_keypoints, cells, cells), np.float32)
    positions = codec.to_map(keypoints, 4, (codec.input_size,) * 2)
    yy, xx = np.mgrid[:cells, :cells]
    for k in range(codec.num_keypoints):
        people = [n for n in range(len(keypoints)) if visible[n, k]]
        if people:
            distance = [(xx - positions[n, k, 0]) ** 2 + (yy - positions[n, k, 1]) ** 2 for n in people]
            tags[k] = np.array(people)[np.argmin(distance, axis=0)] * gap
    return Maps(targets["heat4"], tags, targets.get("heat2"))


def noisy_maps(rng, codec, height, width, num_tags=1, quantised=False):
    """Smooth random blobs with noise; quantised maps are full of ties."""
    k = codec.num_keypoints
    fields = []
    for scale in (1, 2):
        field = rng.normal(0, 0.15, (k, height * scale, width * scale)) + (
            rng.random((k, height * scale, width * scale)) < 0.04
        )
        fields.append(np.round(field * 4) / 4 if quantised else field)
    tags = (
        rng.choice([0.0, 1.0, 1.5, 4.0], (num_tags * k, height, width))
        if quantised
        else rng.normal(0, 2, (num_tags * k, height, width))
    )
    return Maps(fields[0].astype(np.float32), tags.astype(np.float32), fields[1].astype(np.float32))


def oracle_people(codec, maps):
    height, width = maps.heat4.shape[1] * 4, maps.heat4.shape[2] * 4
    heat = (oracle.resize(maps.heat4, height, width) + oracle.resize(maps.heat2, height, width)) / 2
    tags = oracle.resize(maps.tag4, height, width).reshape(-1, codec.num_keypoints, height, width)
    return oracle.decode(heat, tags, codec.meta.order)


@pytest.mark.parametrize("seed", range(12))
def test_paper_mode_equals_the_plain_oracle(five_keypoints, seed):
    rng = np.random.default_rng(seed)
    codec = AssociativeEmbedding(32, five_keypoints, mode="paper")
    maps = noisy_maps(rng, codec, 6, 8, num_tags=1 + seed % 2, quantised=False)
    wanted = oracle_people(codec, maps)
    people = codec.decode(maps)
    assert len(people) == len(wanted) > 0
    np.testing.assert_allclose(people.scores, [score for score, _ in wanted], atol=1e-6)
    for n, (_, keypoints) in enumerate(wanted):
        np.testing.assert_allclose(people.keypoints[n], np.array(keypoints)[:, :2], atol=1e-5)
        np.testing.assert_allclose(people.keypoint_scores[n], np.array(keypoints)[:, 2], atol=1e-6)


@pytest.mark.parametrize("mode", ["paper", "fast"])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("width", "height"), [(128, 128), (192, 128)])
def test_decode_finds_the_people_that_were_encoded(five_keypoints, mode, unbiased, width, height):
    codec = AssociativeEmbedding(128, five_keypoints, mode=mode, unbiased=unbiased)
    keypoints = np.array([[[20, 20], [40, 30], [20, 60], [40, 90], [12, 100]],
                          [[80, 20], [100, 33], [81, 61], [99, 90], [115, 101.5]]], np.float32)  # fmt: skip
    maps = perfect_maps(codec, keypoints, np.full((2, 5), 2))
    if width > height:  # the same maps, with empty columns on the right, of a wider input
        maps = Maps(*(None if m is None else np.pad(m, ((0, 0), (0, 0), (0, m.shape[1] // 2))) for m in maps))
        if unbiased:
            pytest.skip("unbiased maps of another width are other maps")
    people = codec.decode(maps)
    assert len(people) == 2
    error = np.abs(np.sort(people.keypoints, axis=0) - np.sort(keypoints, axis=0)).max()
    assert error < (0.1 if mode == "fast" and unbiased else 1.5)


def test_unbiased_targets_are_more_exact_than_floored_ones(five_keypoints, rng):
    keypoints = rng.uniform(10, 117, (40, 1, 5, 2)).astype(np.float32)

    def mean_error(**kwargs):
        codec = AssociativeEmbedding(128, five_keypoints, **kwargs)
        errors = [
            np.abs(codec.decode(perfect_maps(codec, k, np.full((1, 5), 2))).keypoints - k) for k in keypoints
        ]
        return np.mean(errors)

    assert mean_error(unbiased=True, mode="fast") < 0.05
    assert mean_error(unbiased=True, mode="paper") < mean_error(unbiased=False, mode="paper") < 0.75


@pytest.mark.parametrize("mode", ["paper", "fast"])
def test_floored_positions_are_not_biased(five_keypoints, rng, mode):
    codec = AssociativeEmbedding(128, five_keypoints, mode=mode)
    errors = []
    for _ in range(60):
        keypoints = rng.uniform(10, 117, (1, 5, 2)).astype(np.float32)
        errors.append(codec.decode(perfect_maps(codec, keypoints, np.full((1, 5), 2))).keypoints - keypoints)
    assert np.abs(np.mean(errors, axis=(0, 1, 2))).max() < 0.15  # half a pixel of bias would be 0.5


@pytest.mark.parametrize("column", [0, 7, 15])
def test_one_lit_pixel_column_is_decoded_at_its_middle(five_keypoints, column):
    # Pixel i of the finer map covers the input interval [2 i, 2 i + 2): a half-pixel error shows as 0.5 or 1.
    codec = AssociativeEmbedding(32, five_keypoints, mode="fast")
    maps = Maps(
        np.zeros((5, 8, 8), np.float32), np.zeros((5, 8, 8), np.float32), np.zeros((5, 16, 16), np.float32)
    )
    maps.heat2[:, 8, column] = 1.0
    people = codec.decode(maps)
    assert np.allclose(people.keypoints[0, :, 0], 2 * column + 1, atol=1e-6)
    assert np.allclose(people.keypoints[0, :, 1], 17, atol=1e-6)


@pytest.mark.parametrize("column", [1, 4, 6])
def test_one_lit_column_in_paper_mode(five_keypoints, column):
    codec = AssociativeEmbedding(32, five_keypoints, mode="paper")
    maps = Maps(
        np.zeros((5, 8, 8), np.float32), np.zeros((5, 8, 8), np.float32), np.zeros((5, 16, 16), np.float32)
    )
    maps.heat4[:, :, column] = 1.0
    maps.heat2[:, :, 2 * column : 2 * column + 2] = 1.0
    people = codec.decode(maps)
    # The highest input pixels are the two next to the middle; a quarter towards the neighbour, plus half a pixel.
    assert np.abs(people.keypoints[:, :, 0] - (4 * column + 2)).max() <= 0.75
    assert np.abs(people.keypoints[:, :, 0] - (4 * column + 2)).max() <= 0.26


@pytest.mark.parametrize(("mode", "tolerance"), [("fast", 1e-3), ("paper", 0.51)])
@pytest.mark.parametrize("column", [1, 4, 6])
def test_one_lit_column_of_unbiased_maps(five_keypoints, column, mode, tolerance):
    # Corner to corner: pixel i of a map of 8 lies at i * 31 / 7 of an input of 32.
    codec = AssociativeEmbedding(32, five_keypoints, strides=(4,), mode=mode, unbiased=True)
    heat = np.zeros((5, 8, 8), np.float32)
    heat[:, 3, column] = 1.0
    people = codec.decode(Maps(heat, np.zeros_like(heat)))
    assert np.abs(people.keypoints[:, :, 0] - column * 31 / 7).max() <= tolerance
    assert np.abs(people.keypoints[:, :, 1] - 3 * 31 / 7).max() <= tolerance


def test_encode_draws_at_the_floored_pixel_with_the_stated_sigma(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints)
    keypoints = np.zeros((1, 5, 2), np.float32)
    keypoints[0, 0] = (31.9, 20.2)
    targets = codec.encode(keypoints, np.array([[2, 0, 0, 0, 0]]))
    heat = targets["heat4"][0]
    assert np.unravel_index(heat.argmax(), heat.shape) == (5, 7)
    assert heat[5, 7] == 1.0
    assert heat[5, 9] == pytest.approx(np.exp(-0.5), abs=1e-6)  # two pixels are one sigma
    assert targets["heat4"][1:].max() == 0
    assert targets["tag_index4"][0, 0] == 5 * 16 + 7
    assert (targets["tag_index4"].ravel()[1:] == -1).all()
    assert targets["heat2"][0].argmax() == 10 * 32 + 15


def test_gaussians_are_as_wide_as_the_oks_tolerates(five_keypoints):
    sigmas = np.asarray(five_keypoints["sigmas"])
    codec = AssociativeEmbedding(256, five_keypoints, unbiased=True, oks_sigma=0.5)
    plain = AssociativeEmbedding(256, five_keypoints, unbiased=True)
    # Two pixels of each map away from a keypoint on a pixel: at (40, 32) of the stride-2 map.
    at = np.array([40.0, 32.0]) * 255 / 127
    keypoints, visible = np.full((1, 5, 2), at), np.full((1, 5), 2)
    for area in (40.0**2, 160.0**2):
        targets = codec.encode(keypoints, visible, areas=np.array([area]))
        wanted = np.maximum(0.5 * 2 * sigmas * np.sqrt(area) / 2, 2)
        np.testing.assert_allclose(targets["heat2"][:, 32, 42], np.exp(-(2**2) / (2 * wanted**2)), rtol=1e-4)
        assert (wanted > 2).any() == (area > 10000)
    assert wanted.max() > wanted.min()
    small = codec.encode(keypoints, visible, areas=np.array([4.0]))
    for name, values in plain.encode(keypoints, visible).items():
        np.testing.assert_allclose(small[name], values, atol=1e-6)
    # Without areas the box around the keypoints counts: all at one place, no size.
    np.testing.assert_allclose(codec.encode(keypoints, visible)["heat2"], small["heat2"], atol=1e-6)
    corners = at + np.array([[0, 0], [100, 0], [0, 64], [100, 64], [50, 32]])
    told = codec.encode(corners[None], visible, areas=np.array([AREA_OF_BOX * 100 * 64]))
    np.testing.assert_allclose(codec.encode(corners[None], visible)["heat4"], told["heat4"], atol=1e-5)


def test_overlapping_people_share_a_heatmap_by_maximum(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints)
    keypoints = np.full((2, 5, 2), 32, np.float32)
    keypoints[1] += 8
    both = codec.encode(keypoints, np.full((2, 5), 1))["heat4"]
    each = [codec.encode(keypoints[n : n + 1], np.full((1, 5), 1))["heat4"] for n in (0, 1)]
    np.testing.assert_array_equal(both, np.maximum(*each))


def test_200_people_keep_the_largest_tags_and_all_heatmaps(five_keypoints, rng):
    codec = AssociativeEmbedding(128, five_keypoints, max_people=30)
    centres = rng.uniform(20, 107, (200, 1, 2))
    keypoints = (centres + rng.normal(0, 1, (200, 5, 2))).astype(np.float32)
    keypoints[150:180] += np.array([[-8, 0], [8, 0], [0, 8], [0, -8], [4, 4]], np.float32)
    targets = codec.encode(keypoints, np.full((200, 5), 2))
    assert targets["tag_index4"].shape == (30, 5)
    pixels = np.floor(keypoints[150:180] / 4).astype(int)
    np.testing.assert_array_equal(targets["tag_index4"], pixels[..., 1] * 32 + pixels[..., 0])
    assert (targets["heat4"][0][tuple(np.floor(keypoints[:, 0] / 4).astype(int).T[::-1])] == 1).all()


def test_loss_mask_is_shrunk_and_keypoints_outside_are_left_out(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints)
    mask = np.ones((64, 64), np.uint8)
    mask[:, :32] = 0
    keypoints = np.full((1, 5, 2), 70, np.float32)
    targets = codec.encode(keypoints, np.full((1, 5), 2), mask)
    assert targets["mask4"][:, :8].max() == 0
    assert targets["mask4"][:, 8:].min() == 1
    assert targets["mask2"].mean() == 0.5
    assert (targets["tag_index4"] == -1).all()


def test_two_people_with_the_same_first_tag_stay_two(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints, mode="paper")
    maps = perfect_maps(
        codec, np.array([[[12, 12]] * 5, [[50, 50]] * 5], np.float32), np.full((2, 5), 2), gap=0.0
    )
    maps.tag4[1:, 8:] = 0.4
    assert len(codec.decode(maps)) == 2


def test_missing_keypoint_is_filled_near_the_persons_tag(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints, mode="paper")
    keypoints = np.array([[[12, 12], [12, 40], [20, 20], [20, 40], [28, 28]]], np.float32)
    maps = perfect_maps(codec, keypoints, np.full((1, 5), 2))
    maps.heat4[4] *= 0.05  # below the threshold
    maps.heat2[4] *= 0.05
    for mode in ("paper", "fast"):
        codec.mode = mode
        people = codec.decode(maps)
        assert people.scores[0] == pytest.approx(people.keypoint_scores[0, :4].sum() / 5, abs=1e-4)
        assert 0 < people.keypoint_scores[0, 4] <= 0.05
        assert np.abs(people.keypoints[0, 4] - 28).max() < 2.5


def test_multi_scale_averages_heatmaps_and_takes_tags_of_the_first(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints, mode="paper")
    keypoints = np.array([[[12, 12], [12, 40], [20, 20], [20, 40], [28, 28]]], np.float32)
    maps = perfect_maps(codec, keypoints, np.full((1, 5), 2))
    blank = Maps(
        *(
            None if m is None else np.zeros((m.shape[0], m.shape[1] // 2, m.shape[2] // 2), np.float32)
            for m in maps
        )
    )
    for mode in ("paper", "fast"):
        codec.mode = mode
        one, two = codec.decode(maps), codec.decode([maps, blank])
        np.testing.assert_allclose(two.keypoint_scores, one.keypoint_scores / 2, atol=1e-5)
        np.testing.assert_allclose(two.keypoints, one.keypoints, atol=1e-3)


@pytest.mark.parametrize("mode", ["paper", "fast"])
def test_no_people_if_nothing_exceeds_the_threshold(coco_keypoints, mode):
    codec = AssociativeEmbedding(64, coco_keypoints, mode=mode)
    zero = np.zeros((17, 16, 16), np.float32)
    people = codec.decode(Maps(zero, zero, np.zeros((17, 32, 32), np.float32)))
    assert len(people) == 0
    assert people.keypoints.shape == (0, 17, 2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"input_size": 100}, "multiple of 32"),
        ({"mode": "slow"}, "'fast' or 'paper'"),
        ({"strides": (8,)}, "strides"),
        ({"strides": (4,), "tag_strides": (4, 2)}, "tag_strides"),
        ({"sigma": 0}, "sigma"),
        ({"oks_sigma": -0.1}, "oks_sigma"),
        ({"max_people": 0}, "max_people"),
    ],
)
def test_bad_arguments_are_named(five_keypoints, kwargs, message):
    with pytest.raises(ValueError, match=message):
        AssociativeEmbedding(**{"input_size": 64, "keypoints": five_keypoints, **kwargs})


def test_bad_maps_are_named(five_keypoints):
    codec = AssociativeEmbedding(64, five_keypoints)
    good = Maps(np.zeros((5, 16, 16)), np.zeros((5, 16, 16)), np.zeros((5, 32, 32)))
    with pytest.raises(ValueError, match="heat2"):
        codec.decode(good._replace(heat2=None))
    with pytest.raises(ValueError, match="heat2: expected shape"):
        codec.decode(good._replace(heat2=np.zeros((5, 31, 32))))
    broken = np.zeros((5, 16, 16))
    broken[2, 3, 4] = np.nan
    with pytest.raises(ValueError, match="tag4 contains NaN"):
        codec.decode(good._replace(tag4=broken))
    with pytest.raises(ValueError, match="expected keypoints"):
        codec.encode(np.zeros((1, 4, 2)), np.zeros((1, 4)))
    wide = AssociativeEmbedding(64, five_keypoints, oks_sigma=0.5)
    with pytest.raises(ValueError, match="expected areas"):
        wide.encode(np.zeros((1, 5, 2)), np.zeros((1, 5)), areas=np.zeros(2))


def test_output_names_follow_the_levels(five_keypoints):
    assert AssociativeEmbedding(64, five_keypoints).output_names == ("heat4", "tag4", "heat2")
    both = AssociativeEmbedding(64, five_keypoints, tag_strides=(4, 2))
    assert both.output_names == ("heat4", "tag4", "heat2", "tag2")
    assert AssociativeEmbedding(64, five_keypoints, strides=(4,)).output_names == ("heat4", "tag4")


def test_a_mask_pixel_is_off_unless_most_of_its_input_pixels_are_on(coco_keypoints, rng):
    codec = AssociativeEmbedding(64, coco_keypoints)
    for density in (0.0, 0.3, 0.5, 0.7, 1.0):
        mask = (rng.random((64, 64)) < density).astype(np.uint8)
        targets = codec.encode(np.zeros((0, 17, 2)), np.zeros((0, 17)), mask)
        for stride in codec.strides:
            share = mask.reshape(64 // stride, stride, 64 // stride, stride).mean(axis=(1, 3))
            assert np.array_equal(targets[f"mask{stride}"], share > 0.5)


@pytest.mark.parametrize("mode", ["paper", "fast"])
def test_flip_test_moves_floor_targets_by_half_a_pixel_and_unbiased_ones_not(five_keypoints, mode):
    # Pixels mirror at (W - 1) / 2, the intervals of floored targets at W / 2: docs/codec.md has the numbers.
    rng, shifts = np.random.default_rng(0), {}
    for unbiased in (False, True):
        codec = AssociativeEmbedding(128, five_keypoints, mode=mode, unbiased=unbiased)
        errors = []
        for _ in range(100):
            x, y = rng.uniform(40, 88, 2)
            plain, mirrored = (
                codec.encode(np.full((1, 5, 2), (at, y)), np.full((1, 5), 2)) for at in (x, 127 - x)
            )
            heat = {n: (plain[n] + mirrored[n][:, :, ::-1]) / 2 for n in ("heat4", "heat2")}
            people = codec.decode(Maps(heat["heat4"], np.zeros_like(heat["heat4"]), heat["heat2"]))
            errors.append(people.keypoints[0, 0, 0] - x)
        shifts[unbiased] = np.mean(errors)
    assert abs(shifts[True]) < 0.05
    assert 0.3 < shifts[False] < 0.6
