"""The PersonLab codec: decoding as described and its compiled form, targets, candidates, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.analysis.codec.personlab_benchmark import maps_of_targets
from ehrpose.analysis.codec.plain_personlab import decode_plain
from ehrpose.codecs import BaseCodec
from ehrpose.codecs.accelerator import SWITCH, kernels
from ehrpose.codecs.offset_checks import mean_of_offset_scales
from ehrpose.codecs.offset_poses import OffsetFields, hough_maps
from ehrpose.codecs.personlab import PersonLab, probabilities
from ehrpose.registry import CODECS
from ehrpose.structures import OffsetMaps, PeoplePeaks

FIVE_EDGES = (
    ("nose", "left_wrist"),
    ("nose", "right_wrist"),
    ("left_wrist", "left_ankle"),
    ("right_wrist", "right_ankle"),
)


def random_maps(rng, k=17, height=9, width=12, size=20.0):
    """Maps without sense, but with many local maxima, also equal ones, and offsets that leave the map."""
    heat = rng.normal(-2, 2, (k, height, width))
    heat = np.where(rng.random(heat.shape) < 0.3, np.round(heat), heat)
    offsets = [rng.normal(0, size, (2 * c, height, width)) for c in (k, k - 1, k - 1)]
    return OffsetMaps(*(field.astype(np.float32) for field in (heat, *offsets)))


def two_people(rng, k=17, side=257):
    """Keypoints of two people, in the left and in the right half, all labelled."""
    left = rng.uniform(20, side / 2 - 20, (1, k, 2))
    right = rng.uniform(20, side / 2 - 20, (1, k, 2)) + np.array([side / 2, 0])
    return np.concatenate([left, right]), np.full((2, k), 2)


@pytest.fixture
def without_numba(monkeypatch):
    """Decode with NumPy until the test ends."""

    def switch():
        monkeypatch.setenv(SWITCH, "0")
        kernels.cache_clear()

    yield switch
    monkeypatch.delenv(SWITCH, raising=False)
    kernels.cache_clear()


@pytest.mark.parametrize("seed", range(6))
def test_paper_mode_is_the_described_procedure(coco_keypoints, seed):
    options = [{}, {"nms_radius": 5.0, "refine_steps": 0}, {"min_score": 0.5, "max_people": 3}][seed % 3]
    codec = PersonLab(129, coco_keypoints, mode="paper", **options)
    maps = random_maps(np.random.default_rng(seed), size=(3.0, 40.0)[seed % 2])
    settings = codec.settings
    keypoints, keypoint_scores, scores = decode_plain(
        maps, codec.tree.edges.tolist(), 16, settings.nms_radius, settings.min_score, settings.max_people,
        settings.refine_steps,
    )  # fmt: skip
    found = codec.decode(maps)
    assert len(found) == len(scores) > 2
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    np.testing.assert_allclose(found.keypoints, keypoints, atol=1e-3)
    np.testing.assert_allclose(found.keypoint_scores, keypoint_scores, atol=1e-6)


@pytest.mark.parametrize("mode", ["fast", "paper"])
def test_numpy_gives_the_same_people_bit_for_bit(coco_keypoints, without_numba, mode):
    pytest.importorskip("numba")
    codec = PersonLab(129, coco_keypoints, mode=mode, nms_radius=8.0, refine_steps=3)
    cases = [random_maps(np.random.default_rng(seed), size=(5.0, 60.0)[seed % 2]) for seed in range(12)]
    compiled = [codec.decode(maps) for maps in cases]
    without_numba()
    for people, maps in zip(compiled, cases):
        plain = codec.decode(maps)
        assert len(people) > 5
        for name in ("keypoints", "keypoint_scores", "scores"):
            np.testing.assert_array_equal(getattr(people, name), getattr(plain, name), err_msg=name)


@pytest.mark.parametrize(
    "options", [{}, {"mode": "paper"}, {"mode": "paper", "hough": True, "min_score": 0.01}]
)
def test_people_return_from_their_targets(coco_keypoints, rng, options):
    codec = PersonLab(257, coco_keypoints, radius=20.0, **options)
    keypoints, visible = two_people(rng)
    found = codec.decode(maps_of_targets(codec, codec.encode(keypoints, visible)))
    assert len(found) >= 2
    order = np.argsort(found.keypoints[:2].mean(axis=(1, 2)))
    distance = np.linalg.norm(found.keypoints[order] - keypoints, axis=2)
    # Where discs of one type overlap, as of two people at the middle, or where a displacement is read at the rim.
    assert np.median(distance) < 1e-3
    assert (distance < 2).mean() > 0.8


def test_hough_maps_hold_all_votes_that_stay_on_the_map(coco_keypoints):
    codec = PersonLab(129, coco_keypoints)
    heat = np.zeros((17, 9, 9), np.float32)
    short = np.zeros((2, 17, 9, 9), np.float32)
    heat[3, 4, 4], short[0, 3, 4, 4], short[1, 3, 4, 4] = 0.8, 4.0, -8.0
    heat[5, 0, 0], short[0, 5, 0, 0] = 1.0, -100.0  # points out of the map
    fields = OffsetFields(heat, short, short[:, :16], short[:, :16], 16.0)
    votes = hough_maps(fields, codec.radius) * np.pi * 4
    np.testing.assert_allclose(votes[3, 4:6, 3:5], 0.8 * np.outer([0.75, 0.25], [0.5, 0.5]), atol=1e-6)
    assert votes.sum() == pytest.approx(0.8, abs=1e-5)


def test_targets_are_discs_and_offsets_to_the_nearest_person(five_keypoints):
    codec = PersonLab(129, five_keypoints, edges=FIVE_EDGES, radius=20.0, with_long=True)
    keypoints = np.zeros((2, 5, 2))
    keypoints[:, 0] = [(33.0, 48.0), (65.0, 48.0)]  # noses, their discs overlap
    keypoints[0, 1] = (35.0, 90.0)
    visible = np.array([[2, 1, 0, 0, 0], [2, 0, 0, 0, 0]])
    mask = np.ones((129, 129), np.uint8)
    mask[:, 112:] = 0
    targets = codec.encode(keypoints, visible, mask)
    assert {name: array.shape for name, array in targets.items()} == {
        "heat": (5, 9, 9), "mask": (9, 9), "short": (10, 9, 9), "forward": (8, 9, 9), "backward": (8, 9, 9),
        "long": (10, 9, 9),
    }  # fmt: skip
    assert {array.dtype for array in targets.values()} == {np.dtype("float32")}
    inside = np.hypot(*(np.indices((9, 9)) * 16 - np.array([48, 33])[:, None, None])) <= 20
    inside |= np.hypot(*(np.indices((9, 9)) * 16 - np.array([48, 65])[:, None, None])) <= 20
    np.testing.assert_array_equal(targets["heat"][0] > 0, inside)
    assert targets["heat"][2:].sum() == 0
    np.testing.assert_array_equal(targets["mask"].sum(axis=0) > 0, np.arange(9) * 16 < 112)
    np.testing.assert_array_equal(np.isfinite(targets["short"][0]), inside)
    # Row 3 is y = 48: column 2, x = 32, is the first person's, column 4, x = 64, the other's.
    assert [targets["short"][i, 3, 2] for i in (0, 5)] == [0, 1]
    assert [targets["short"][i, 3, 4] for i in (0, 5)] == [0, 1]
    assert [targets["forward"][i, 3, 2] for i in (0, 4)] == [42, 3]
    assert np.isnan(targets["forward"][0, 3, 4])  # that person's wrist is not labelled
    assert np.isnan(targets["forward"][1]).all()
    # Row 6 is y = 96: near the wrist.
    assert [targets["backward"][i, 6, 2] for i in (0, 4)] == [-48, 1]
    # Everywhere in the box of the first person, 20 px larger, there is a long offset to its nose and wrist.
    assert [targets["long"][i, 4, 1] for i in (0, 1, 5, 6)] == [-16, 26, 17, 19]
    assert np.isnan(targets["long"][2]).all()
    assert np.isnan(targets["long"][0, :, 8]).all()
    empty = codec.encode(np.zeros((0, 5, 2)), np.zeros((0, 5)))
    assert empty["heat"].sum() == 0
    assert np.isnan(empty["short"]).all()


def test_mirrored_maps_have_mirrored_people(coco_keypoints, rng):
    codec = PersonLab(129, coco_keypoints, min_score=0.3, with_long=True)
    rules = codec.mirror_rules()
    assert tuple(rules) == codec.output_names == ("heat", "short", "forward", "backward", "long")
    maps = random_maps(rng)
    mirrored = {}
    for name in codec.output_names[:4]:
        field = getattr(maps, name)[:, :, ::-1][list(rules[name].channels)].copy()
        field[list(rules[name].negated)] *= -1
        mirrored[name] = field
    one, other = codec.decode(maps), codec.decode(OffsetMaps(**mirrored))
    assert len(one) == len(other) > 5
    flipped = one.keypoints[:, codec.meta.flip_indices].copy()
    flipped[..., 0] = 11 * 16 - flipped[..., 0]
    # Only equal maxima may grow in another order.
    same = np.abs(flipped[:, None] - other.keypoints[None]).max(axis=(2, 3)).min(axis=1) < 1e-2
    assert same.mean() > 0.8


def test_flip_test_needs_a_symmetric_tree(five_keypoints):
    edges = (
        ("nose", "left_wrist"),
        ("left_wrist", "right_wrist"),
        ("left_wrist", "left_ankle"),
        ("nose", "right_ankle"),
    )
    codec = PersonLab(129, five_keypoints, edges=edges)
    with pytest.raises(NotImplementedError, match="mirrored edges"):
        codec.mirror_rules()


def test_ranking_and_duplicates(coco_keypoints, rng):
    maps = random_maps(rng, size=3.0)
    plain = PersonLab(129, coco_keypoints, score_power=1.0, score_size=0.0).decode(maps)
    assert (np.diff(plain.scores) <= 0).all()
    sized = PersonLab(129, coco_keypoints, score_power=1.0, score_size=1.0).decode(maps)
    assert len(sized) == len(plain)
    assert (sized.scores <= plain.scores + 1e-6).all()
    assert len(PersonLab(129, coco_keypoints, nms_oks=0.0).decode(maps)) < len(plain)
    assert len(PersonLab(129, coco_keypoints, max_people=2).decode(maps)) == 2
    assert len(PersonLab(129, coco_keypoints, min_score=0.9999).decode(maps)) == 0


def test_several_scales_are_averaged(coco_keypoints, rng):
    codec = PersonLab(257, coco_keypoints, radius=20.0)
    maps = maps_of_targets(codec, codec.encode(*two_people(rng)))
    once, twice = codec.decode(maps), codec.decode([maps, maps])
    np.testing.assert_allclose(once.keypoints, twice.keypoints, atol=1e-3)
    # The same at half the resolution: every other pixel, and offsets in its own px.
    half = OffsetMaps(*(field[:, ::2, ::2] / (1 if i == 0 else 2) for i, field in enumerate(maps[:4])))
    merged = mean_of_offset_scales([maps, half])
    for field, whole in zip(merged[:4], maps):
        np.testing.assert_allclose(field[:, ::2, ::2], whole[:, ::2, ::2], atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_poses_of_the_exported_graph_are_the_same_people(coco_keypoints, seed):
    torch = pytest.importorskip("torch")
    from ehrpose.deploy.export.peaks import peak_extractor

    codec = PersonLab(129, coco_keypoints, max_candidates=12, nms_radius=6.0)
    rng = np.random.default_rng(seed)
    maps = random_maps(rng, size=(2.0, 4.0, 8.0)[seed])
    maps = maps._replace(heat=rng.normal(-2, 2, maps.heat.shape).astype(np.float32))  # no equal maxima
    batch = OffsetMaps(*(torch.from_numpy(np.stack([field, field])) for field in maps[:4]))
    peaks = PeoplePeaks(*(field.numpy() for field in peak_extractor(codec)(batch)))
    assert peaks.root_logits.shape == (2, 17, 12)
    assert peaks.root_poses.shape == (2, 17, 12, 17, 3)
    wanted, found = codec.decode(maps), codec.decode_peaks(peaks.image(1), (177, 129))
    assert len(found) == len(wanted) > 5
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    close = np.abs(found.keypoints - wanted.keypoints).max(axis=2) < 0.05
    assert close.mean() > 0.99  # a keypoint at the border of two pixels' votes may fall to the other one


def test_what_other_parts_ask_of_the_codec(coco_keypoints):
    codec = PersonLab(481, coco_keypoints)
    assert isinstance(codec, BaseCodec)
    assert CODECS.get("PersonLab") is PersonLab
    assert (codec.side_multiple, codec.side_offset, codec.aligned) == (16, 1, True)
    assert codec.map_strides == dict.fromkeys(("heat", "short", "forward", "backward"), 16)
    heat = np.array([[[-200.0, 0.0, 200.0]]], np.float32)
    np.testing.assert_array_equal(codec.finest_heat(OffsetMaps(heat, 0, 0, 0)), [[[0, 0.5, 1]]])
    assert probabilities(heat).dtype == np.float32
    assert codec.why_no_peaks() is None
    slow = PersonLab(481, coco_keypoints, mode="paper")
    assert slow.why_no_peaks() == "expected mode 'fast', got 'paper'"
    with pytest.raises(ValueError, match="expected mode 'fast'"):
        slow.decode_peaks(PeoplePeaks(np.zeros((17, 1)), np.zeros((17, 1, 17, 3))), (481, 481))


def test_networks_with_tags_do_not_load_it(root):
    import subprocess
    import sys

    code = "import ehrpose.codecs, sys; print([name for name in sys.modules if 'codecs.' in name and 'off' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input_size": 480}, ValueError, "expected a multiple of the stride, 16, plus 1, got 480"),
        ({"stride": 4}, ValueError, "stride: expected 8, 16 or 32"),
        ({"radius": 0}, ValueError, "radius: expected a finite number above 0"),
        ({"mode": "slow"}, ValueError, "expected 'fast' or 'paper'"),
        ({"min_scores": 0.1}, TypeError, "did you mean 'min_score'"),
        ({"min_score": 0}, ValueError, "min_score: expected a number above 0 and below 1, got 0"),
        ({"nms_radius": -1}, ValueError, "nms_radius"),
        ({"refine_steps": 1.5}, ValueError, "refine_steps: expected a whole number"),
        ({"max_people": 0}, ValueError, "max_people"),
        ({"score_power": "2"}, ValueError, "score_power: expected a finite number above 0, got '2'"),
        (
            {"edges": [("nose", "left_eye")]},
            ValueError,
            "expected a tree, 16 pairs that connect all 17 keypoints, got 1",
        ),
        ({"edges": [("nose", "tail")]}, ValueError, r"unknown keypoints \['tail'\]"),
    ],
)
def test_wrong_options_are_named(coco_keypoints, options, error, message):
    with pytest.raises(error, match=message):
        PersonLab(**{"input_size": 129, "keypoints": coco_keypoints, **options})


def test_other_skeletons_need_their_own_tree(five_keypoints):
    with pytest.raises(ValueError, match="give edges=, pairs of names of your keypoints"):
        PersonLab(129, five_keypoints)
    codec = PersonLab(129, five_keypoints, edges=FIVE_EDGES)
    assert codec.tree.levels[3].tolist() == [2, 1, 3, 0, 4]
    assert len(codec.decode(random_maps(np.random.default_rng(0), k=5))) > 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m._replace(heat=m.heat[:16]), r"heat: expected shape \(17, h, w\)"),
        (lambda m: m._replace(short=m.short[:, 1:]), r"short: expected shape \(34, 9, 12\)"),
        (lambda m: m._replace(forward=None), "expected the map forward, got none"),
        (lambda m: m._replace(backward=m.backward * np.nan), "backward contains NaN or infinity"),
        (lambda m: m._replace(heat=m.heat * 1e20), "heat contains"),
        (lambda m: m._replace(heat=np.full(m.heat.shape, "a")), "expected an array of numbers"),
        (lambda m: [], "at least one scale"),
        (lambda m: [m, m.heat], "expected OffsetMaps, got ndarray"),
    ],
)
def test_wrong_maps_are_named(coco_keypoints, rng, change, message):
    with pytest.raises(ValueError, match=message):
        PersonLab(129, coco_keypoints).decode(change(random_maps(rng)))


def test_wrong_targets_and_candidates_are_named(coco_keypoints):
    codec = PersonLab(129, coco_keypoints)
    with pytest.raises(ValueError, match=r"expected keypoints \(N, 17, 2\)"):
        codec.encode(np.zeros((1, 5, 2)), np.zeros((1, 5)))
    with pytest.raises(ValueError, match=r"loss_mask: expected shape \(129, 129\)"):
        codec.encode(np.zeros((1, 17, 2)), np.zeros((1, 17)), np.zeros((64, 64)))
    with pytest.raises(ValueError, match=r"root_poses: expected shape \(17, 2, 17, 3\)"):
        codec.decode_peaks(PeoplePeaks(np.zeros((17, 2)), np.zeros((17, 1, 17, 3))), (129, 129))
