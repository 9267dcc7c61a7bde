"""`paper` decoding equals the reference decoder exactly, and that one equals the loops of the oracle."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

from ehrpose.analysis.codec.maps_from_labels import Noise, noisy_maps, place_people
from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.accelerator import kernels
from ehrpose.codecs.reference import decode_reference
from ehrpose.structures import Maps

NUM_CASES = 500  # make fuzz-codec tries a million
BATCHES = 5


def random_maps(rng, codec, kind):
    """Maps of (5, 4 to 9, 4 to 9): noise, ties everywhere, one value, or much and little heat."""
    k, t = codec.num_keypoints, int(rng.integers(1, 3))
    height, width = rng.integers(4, 10, 2)
    strides = {4: 1, 2: 2}
    heat = {}
    for stride in codec.strides:
        shape = (k, height * strides[stride], width * strides[stride])
        heat[stride] = rng.normal(0, 0.15, shape) + (rng.random(shape) < rng.uniform(0, 0.1))
        if kind == "ties":
            heat[stride] = np.round(heat[stride] * 4) / 4
        elif kind == "flat":
            heat[stride][:] = rng.choice([0.0, 0.05, 0.1, 0.5, 1.0])
        elif kind == "scaled":
            heat[stride] *= 10 ** rng.uniform(-3, 2)
    tags = rng.normal(0, 2, (t * k, height, width))
    if kind == "ties":
        tags = rng.choice([0.0, 0.5, 1.0, 1.5, 4.0], tags.shape)
    elif kind == "flat":
        tags[:] = rng.choice([0.0, 2.0])
    return Maps(*(None if m is None else m.astype(np.float32) for m in (heat[4], tags, heat.get(2))))


@pytest.fixture(params=["as installed", "without numba"])
def both_forms(request, monkeypatch):
    """Run a test with the compiled loops, if numba is installed, and without them."""
    if request.param == "without numba":
        monkeypatch.setenv("EHRPOSE_NUMBA", "0")
    kernels.cache_clear()
    yield
    monkeypatch.undo()
    kernels.cache_clear()


def assert_same(people, wanted):
    np.testing.assert_array_equal(people.scores, wanted.scores)
    np.testing.assert_array_equal(people.keypoints, wanted.keypoints)
    np.testing.assert_array_equal(people.keypoint_scores, wanted.keypoint_scores)
    np.testing.assert_array_equal(people.tags, wanted.tags)


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_paper_mode_is_the_definition_on_random_maps(five_keypoints, batch):
    rng = np.random.default_rng(batch)
    for number in range(NUM_CASES // BATCHES):
        codec = AssociativeEmbedding(
            32, five_keypoints, mode="paper", unbiased=number % 3 == 1, strides=(4,) if number % 5 == 4 else (4, 2),
            fill_missing=number % 7 != 6,
        )  # fmt: skip
        maps = random_maps(rng, codec, ("noise", "ties", "flat", "scaled")[number % 4])
        wh = (maps.heat4.shape[2] * 4, maps.heat4.shape[1] * 4)
        assert_same(codec.decode(maps), decode_reference([maps], wh, codec.settings))


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("seed", range(30))
def test_paper_mode_is_the_definition_on_maps_of_people(coco_keypoints, seed):
    rng = np.random.default_rng(seed)
    codec = AssociativeEmbedding(128, coco_keypoints, mode="paper", unbiased=seed % 2 == 1)
    poses = [np.column_stack([rng.random((17, 2)) * (40, 100), np.full(17, 2)]) for _ in range(4)]
    wh = (128, 160) if seed % 3 else (128, 128)
    keypoints, visible = place_people(poses, seed % 9, 128, rng)
    scales = [noisy_maps(codec, keypoints, visible, wh, rng, Noise(missed=0.3)) for _ in range(1 + seed % 2)]
    assert_same(codec.decode(scales), decode_reference(scales, wh, codec.settings))


@pytest.mark.parametrize("seed", range(4))
def test_the_definition_equals_loops_over_pixels(five_keypoints, seed):
    rng = np.random.default_rng(seed)
    codec = AssociativeEmbedding(32, five_keypoints, mode="paper")
    maps = random_maps(rng, codec, "noise")
    height, width = maps.heat4.shape[1] * 4, maps.heat4.shape[2] * 4
    heat = (oracle.resize(maps.heat4, height, width) + oracle.resize(maps.heat2, height, width)) / 2
    tags = oracle.resize(maps.tag4, height, width).reshape(-1, 5, height, width)
    wanted = oracle.decode(heat, tags, codec.meta.order)
    people = decode_reference([maps], (width, height), codec.settings)
    assert len(people) == len(wanted) > 0
    np.testing.assert_allclose(people.scores, [score for score, _ in wanted], atol=1e-6)
    keypoints = np.array([person for _, person in wanted])
    np.testing.assert_allclose(people.keypoints, keypoints[..., :2], atol=1e-5)
    np.testing.assert_allclose(people.keypoint_scores, keypoints[..., 2], atol=1e-6)


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("mode", ["fast", "paper"])
def test_eight_threads_find_the_same_people(coco_keypoints, mode):
    rng = np.random.default_rng(0)
    codec = AssociativeEmbedding(128, coco_keypoints, mode=mode)
    poses = [np.column_stack([rng.random((17, 2)) * (40, 100), np.full(17, 2)]) for _ in range(4)]
    batch = [noisy_maps(codec, *place_people(poses, n, 128, rng), (128, 128), rng) for n in (1, 4, 9)] * 8
    wanted = [codec.decode(maps) for maps in batch]
    found = codec.decode_batch(batch, num_threads=8)
    assert len(found) == len(batch)
    for one, other in zip(found, wanted):
        assert_same(one, other)
    with pytest.raises(ValueError, match="num_threads: expected a whole number of at least 1, got 0"):
        codec.decode_batch(batch, num_threads=0)
