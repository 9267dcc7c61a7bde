"""Maps of any content end in people or in ValueError, the same with and without the compiled loops."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.analysis.codec.codec_fuzz import form, fuzz
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.grouping import group_by_tag
from ehrpose.structures import Maps, PeakMaps

K = 5
FORMS = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "NumPy"])
MODES = pytest.mark.parametrize("mode", ["fast", "paper"])
grouping_kernels = pytest.importorskip(
    "ehrpose.codecs.compiled.grouping_kernels", reason="numba is not installed"
)


def maps_of(height=3, width=4):
    """Two levels with a peak of each type."""
    heat4, heat2 = (np.full((K, height * s, width * s), 0.05, np.float32) for s in (1, 2))
    heat4[:, 0, 0] = heat2[:, 0, 0] = 0.9
    return Maps(heat4, np.zeros((K, height, width), np.float32), heat2)


def peaks_of(m=3, num_tags=1):
    """Candidates of an input of 16 x 12 px."""
    shapes = (K, m), (K, m), (K, m, 4), (K, m, 9), (num_tags, K, m, 9)
    fields = PeakMaps(*(np.full(shape, 0.5, np.float32) for shape in shapes))
    return fields._replace(peak_pixels=np.arange(K * m, dtype=np.int32).reshape(K, m) % 48)


def test_both_forms_agree_on_generated_maps():
    """Takes seconds, as a fault of one branch in one form shows in few maps; make fuzz-codec decodes a million."""
    findings = fuzz(1500)
    assert findings.faults == []
    assert all(findings.outcomes[name] > 50 for name in ("people", "nobody", "refused"))


@pytest.mark.parametrize("value", [1e16, 3e38, 1e300, np.inf, -np.inf, np.nan, -1e16])
@pytest.mark.parametrize("name", Maps._fields[:3])
@MODES
@FORMS
def test_maps_that_overflow_are_refused(five_keypoints, compiled, mode, name, value):
    codec = AssociativeEmbedding(32, five_keypoints, mode=mode, pair_ratio=0.5)
    maps = maps_of()
    wide = getattr(maps, name).astype(np.float64)
    wide[2, 1, 1] = value
    with (
        form(compiled),
        pytest.raises(ValueError, match=rf"{name} contains .*the network's output is broken"),
    ):
        codec.decode(maps._replace(**{name: wide}))


@MODES
def test_the_maps_of_every_scale_are_checked(five_keypoints, mode):
    codec, larger = AssociativeEmbedding(32, five_keypoints, mode=mode), maps_of(6, 8)
    assert len(codec.decode([maps_of(), larger])) == 1
    larger.heat4[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="heat4 contains NaN or infinity"):
        codec.decode([maps_of(), larger])


@pytest.mark.parametrize("value", [1e16, 3e38, np.inf, np.nan])
@pytest.mark.parametrize("name", [name for name in PeakMaps._fields if name != "peak_pixels"])
@FORMS
def test_candidates_that_overflow_are_refused(five_keypoints, compiled, name, value):
    codec, peaks = AssociativeEmbedding(32, five_keypoints), peaks_of()
    getattr(peaks, name)[(0, *[0] * (getattr(peaks, name).ndim - 1))] = value
    with (
        form(compiled),
        pytest.raises(ValueError, match=rf"{name} contains .*the network's output is broken"),
    ):
        codec.decode_peaks(peaks, (16, 12))


@MODES
@FORMS
def test_the_largest_values_still_decode(five_keypoints, compiled, mode):
    codec = AssociativeEmbedding(32, five_keypoints, mode=mode, pair_ratio=0.5)
    maps = maps_of()
    maps.tag4[:, 0, 0], maps.heat2[:] = [-1e15, 1e15, -1e15, 1e15, 0], 1e15
    with form(compiled):
        people = codec.decode(maps)
    assert len(people) >= 3
    assert np.isfinite(people.scores).all()
    assert np.isfinite(people.keypoints).all()


@pytest.mark.parametrize("cost", [np.inf, np.nan])
def test_the_compiled_assignment_refuses_what_has_no_solution(cost):
    with pytest.raises(ValueError, match="not finite"):
        grouping_kernels.assign(np.full((2, 3), cost))


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e200])
@FORMS
def test_grouping_refuses_tags_that_are_not_finite(compiled, value):
    scores = [np.array([0.5, 0.4])] * 2
    tags = [np.zeros((2, 1)), np.array([[value], [value]])]
    with form(compiled), pytest.raises(ValueError, match="tags of candidates: expected finite values"):
        group_by_tag(scores, tags, (0, 1))


@pytest.mark.parametrize(
    ("options", "factor", "message"),
    [({"place_weight": 1e300}, 1, "place_weight is too large"), ({"score_power": 1e300}, 3, "with score_power"),
     ({"score_power": 0.5, "min_score": -1.0}, -1, "with score_power")],
)  # fmt: skip
@FORMS
def test_options_that_make_values_overflow_are_named(five_keypoints, compiled, options, factor, message):
    codec, maps = AssociativeEmbedding(32, five_keypoints, **options), maps_of()
    maps = maps._replace(heat4=factor * maps.heat4, heat2=factor * maps.heat2)
    with form(compiled), pytest.raises(ValueError, match=message):
        codec.decode(maps)


@FORMS
def test_any_tag_distance_may_be_allowed(five_keypoints, compiled):
    meta = {**five_keypoints, "skeleton": [("left_wrist", "left_ankle"), ("right_wrist", "right_ankle")]}
    with form(compiled):
        assert len(AssociativeEmbedding(32, meta, max_tag_dist=1e200, pair_ratio=0.5).decode(maps_of())) == 1


@pytest.mark.parametrize(("unbiased", "middle"), [(False, 2.0), (True, 1.5)])
@FORMS
def test_a_map_of_one_pixel_is_decoded_at_its_middle(five_keypoints, compiled, unbiased, middle):
    codec = AssociativeEmbedding(32, five_keypoints, strides=(4,), unbiased=unbiased)
    maps = Maps(np.full((K, 1, 1), 0.9, np.float32), np.zeros((K, 1, 1), np.float32))
    with form(compiled):
        people = codec.decode(maps)
    np.testing.assert_array_equal(people.keypoints, np.full((1, K, 2), middle, np.float32))


@pytest.mark.parametrize("unbiased", [False, True])
@MODES
@FORMS
def test_two_levels_of_one_and_two_pixels(five_keypoints, compiled, mode, unbiased):
    codec = AssociativeEmbedding(32, five_keypoints, mode=mode, unbiased=unbiased)
    with form(compiled):
        people = codec.decode(maps_of(1, 1))
    assert len(people) == 1
    assert (people.keypoints >= -0.5).all()
    assert (people.keypoints <= 3.5).all()


@pytest.mark.parametrize(
    ("changed", "input_wh", "message"),
    [
        ({"peak_pixels": np.full((K, 3), 48)}, (16, 12), "peak_pixels: expected 0 to 47"),
        ({"peak_pixels": np.full((K, 3), -1)}, (16, 12), "peak_pixels: expected 0 to 47"),
        ({"peak_pixels": np.zeros((K, 3), np.float32)}, (16, 12), "peak_pixels: expected whole numbers"),
        ({"peak_pixels": np.zeros((K, 2), np.int32)}, (16, 12), "peak_pixels: expected shape"),
        ({"peak_scores": np.zeros(K)}, (16, 12), "peak_scores: expected shape"),
        ({"peak_scores": np.zeros((K - 1, 3))}, (16, 12), "peak_scores: expected shape"),
        ({"peak_scores": np.full((K, 3), "0.5")}, (16, 12), "peak_scores: expected an array of numbers"),
        ({"peak_tags": np.zeros((0, K, 3, 9))}, (16, 12), "peak_tags: expected shape"),
        ({"peak_tags": np.float32(1)}, (16, 12), "peak_tags: expected shape"),
        ({}, (15, 12), "input_wh: expected width and height, two multiples of 4"),
        ({}, (0, 12), "input_wh: expected"),
        ({}, (16.5, 12), "input_wh: expected"),
        ({}, (16,), "input_wh: expected"),
    ],
)  # fmt: skip
def test_candidates_of_other_shapes_types_or_ranges_are_refused(five_keypoints, changed, input_wh, message):
    codec = AssociativeEmbedding(32, five_keypoints, strides=(4, 2))
    peaks = peaks_of()._replace(peak_pixels=np.zeros((K, 3), np.int32))
    assert len(codec.decode_peaks(peaks, (12, 16)[::-1])) > 0
    if "peak_pixels" in changed and changed["peak_pixels"].max() == 48:  # on the 8 x 6 map of this input
        codec.decode_peaks(peaks._replace(**changed), (20, 12))
    with pytest.raises(ValueError, match=message):
        codec.decode_peaks(peaks._replace(**changed), input_wh)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (Maps(*(np.zeros((K, 0, 0), np.float32) for _ in range(3))), "heat4: expected shape"),
        (Maps(np.float32(1), np.float32(1), np.float32(1)), "heat4: expected shape"),
        (maps_of()._replace(tag4=np.zeros((0, 3, 4), np.float32)), "tag4: expected shape"),
        (maps_of()._replace(heat2=np.full((K, 6, 8), "a")), "heat2: expected an array of numbers"),
        ([], "at least one scale"),
    ],
)  # fmt: skip
def test_maps_of_no_size_or_other_types_are_refused(five_keypoints, maps, message):
    with pytest.raises(ValueError, match=message):
        AssociativeEmbedding(32, five_keypoints).decode(maps)
