from __future__ import annotations

import itertools

import pytest

from ehrpose.models.scaling import compound_scaling, round_channels

# phi, input, width, depth, branch channels, modules: Table 1 of arXiv:2007.08090.
TABLE_1 = [
    (0, 512, 1.0, 1.0, (32, 64, 128, 256), (1, 4, 3)),
    (-1, 480, 0.909, 0.833, (26, 52, 103, 206), (1, 3, 3)),
    (-2, 448, 0.826, 0.694, (21, 42, 83, 166), (1, 2, 3)),
    (-3, 416, 0.751, 0.579, (17, 34, 67, 133), (1, 1, 3)),
    (-4, 384, 0.683, 0.482, (14, 27, 54, 107), (1, 1, 2)),
]
# Stem and stage channels, stage repeats of the compact EfficientNets.
COMPACT = [
    (0, (32, 16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    (-1, (32, 16, 24, 40, 72, 104, 176, 288), (1, 2, 2, 3, 3, 4, 1)),
    (-2, (24, 16, 24, 32, 64, 96, 160, 264), (1, 2, 2, 3, 3, 3, 1)),
    (-3, (24, 16, 24, 32, 64, 88, 144, 240), (1, 2, 2, 2, 2, 3, 1)),
    (-4, (24, 16, 16, 32, 56, 80, 128, 216), (1, 1, 1, 2, 2, 2, 1)),
]


@pytest.mark.parametrize(("phi", "size", "width", "depth", "channels", "modules"), TABLE_1)
def test_table_1(phi, size, width, depth, channels, modules):
    scaling = compound_scaling(phi)
    assert scaling.input_size == size
    assert scaling.width == pytest.approx(width, abs=1e-3)
    assert scaling.depth == pytest.approx(depth, abs=1e-3)
    assert scaling.branch_channels == channels
    assert scaling.num_modules == modules


@pytest.mark.parametrize(("phi", "channels", "repeats"), COMPACT)
def test_compact_efficientnets(phi, channels, repeats):
    scaling = compound_scaling(phi)
    assert scaling.stage_channels == channels
    assert scaling.stage_repeats == repeats


def test_sizes_grow_with_any_real_phi():
    sizes = [compound_scaling(phi / 4) for phi in range(-40, 17)]
    for smaller, larger in itertools.pairwise(sizes):
        assert smaller.input_size <= larger.input_size
        assert all(a <= b for a, b in zip(smaller.branch_channels, larger.branch_channels))
        assert all(a <= b for a, b in zip(smaller.num_modules, larger.num_modules))
        assert all(a <= b for a, b in zip(smaller.stage_repeats, larger.stage_repeats))
        assert smaller.input_size % 32 == 0
    assert min(compound_scaling(-10).num_modules) == 1
    assert compound_scaling(2).num_modules == (1, 6, 3)


@pytest.mark.parametrize("phi", [float("nan"), float("inf"), "h0", None, True, -16])
def test_impossible_phi_is_refused(phi):
    with pytest.raises(ValueError, match="phi"):
        compound_scaling(phi)


def test_rounding_never_loses_more_than_a_tenth():
    for channels in (16, 24, 40, 80, 112, 192, 320):
        for width in (0.35, 0.5, 0.684, 0.751, 0.9, 1.1, 1.4):
            rounded = round_channels(channels, width)
            assert rounded % 8 == 0
            assert rounded >= 0.9 * channels * width
