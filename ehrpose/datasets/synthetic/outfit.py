"""Skin, hair and clothes of synthetic people: small texture tiles (NumPy only).

A tile is wrapped around a limb: its columns run across the limb, its rows along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TILE = 32
_SKINS = np.array(
    [
        [186, 206, 240],
        [160, 188, 232],
        [140, 172, 218],
        [108, 146, 200],
        [78, 112, 168],
        [54, 80, 128],
        [38, 56, 92],
    ],
    float,
)
_HAIRS = np.array(
    [
        [20, 20, 24],
        [30, 40, 58],
        [42, 66, 104],
        [70, 112, 160],
        [96, 170, 215],
        [38, 62, 140],
        [165, 168, 172],
    ],
    float,
)
_NEUTRALS = np.array(
    [[40, 38, 36], [90, 60, 40], [120, 92, 70], [95, 110, 125], [205, 208, 212], [150, 180, 200]], float
)
_PATTERNS = ("plain", "rows", "columns", "checks", "noise", "dots", "blocks")
_PATTERN_ODDS = np.array([0.40, 0.18, 0.08, 0.10, 0.12, 0.06, 0.06])
_ACROSS = (np.arange(TILE) + 0.5) / TILE * 2 - 1
# Brightness across a cylinder lit from the left; index 1: from the right.
_SHADES = np.stack(
    [0.52 + 0.56 * np.sqrt(np.clip(1 - ((_ACROSS + shift) / 1.32) ** 2, 0, 1)) for shift in (0.3, -0.3)]
)


@dataclass
class Material:
    """Cloth, skin or hair: mean BGR colour and (2, TILE, TILE, 3) uint8 tiles, lit from left and right."""

    color: np.ndarray
    tiles: np.ndarray


@dataclass
class Outfit:
    """Skin, hair and clothes of one person."""

    skin: Material
    hair: Material
    top: Material
    bottom: Material
    shoes: Material
    sleeve: str
    legwear: str
    hair_style: str
    hair_angle: float
    has_belt: bool
    front: str
    accent: np.ndarray


def make_material(color: np.ndarray, pattern: np.ndarray | None = None) -> Material:
    """Shade a colour, or a (TILE, TILE, 3) BGR pattern, as on a cylinder."""
    flat = np.broadcast_to(color, (TILE, TILE, 3)) if pattern is None else pattern
    tiles = flat[None] * _SHADES[:, None, :, None]
    return Material(np.asarray(color, float), np.clip(tiles, 0, 255).astype(np.uint8))


def sample_color(rng: np.random.Generator, neutral: float = 0.4) -> np.ndarray:
    """Sample a cloth colour, BGR, 0 to 255; ``neutral`` is the share of greys, denims and beiges."""
    if rng.random() < neutral:
        return np.clip(_NEUTRALS[rng.integers(len(_NEUTRALS))] + rng.normal(0, 14, 3), 12, 245)
    value = rng.uniform(70, 235)
    weak = value * (1 - rng.uniform(0.35, 0.95))
    color = np.array([weak, rng.uniform(weak, value), value])
    return color[rng.permutation(3)]


def sample_pattern(rng: np.random.Generator, color: np.ndarray) -> np.ndarray | None:
    """Sample a (TILE, TILE, 3) BGR pattern around a colour, or None for plain cloth."""
    kind = _PATTERNS[rng.choice(len(_PATTERNS), p=_PATTERN_ODDS)]
    if kind == "plain":
        return None
    other = sample_color(rng, 0.5)
    if np.abs(other - color).sum() < 90:
        other = 255 - color
    period = TILE // int(rng.choice([1, 2, 4]))
    row, column = np.mgrid[:TILE, :TILE] % period / period
    width = rng.uniform(0.25, 0.6)
    if kind == "rows":
        mix = row < width
    elif kind == "columns":
        mix = column < width
    elif kind == "checks":
        mix = (row < width) * 0.5 + (column < width) * 0.5
    elif kind == "noise":
        cells = rng.random((TILE // 4, TILE // 4))
        mix = np.kron(cells, np.ones((4, 4))) * 0.8
    elif kind == "dots":
        mix = (row - 0.5) ** 2 + (column - 0.5) ** 2 < (0.5 * width) ** 2
    else:
        mix = (row < 0.5) != (column < 0.5)
    return color + np.asarray(mix, float)[..., None] * (other - color)


def _cloth(rng: np.random.Generator, neutral: float, is_plain: bool = False) -> Material:
    color = sample_color(rng, neutral)
    pattern = None if is_plain else sample_pattern(rng, color)
    material = make_material(color, pattern)
    if pattern is not None:
        material.color = pattern.mean((0, 1))
    return material


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Sample skin, hair and clothes of one person."""
    skin = np.clip(_SKINS[rng.integers(len(_SKINS))] * rng.uniform(0.9, 1.08) + rng.normal(0, 5, 3), 20, 250)
    hair = np.clip(_HAIRS[rng.integers(len(_HAIRS))] * rng.uniform(0.8, 1.2) + rng.normal(0, 5, 3), 8, 240)
    strands = hair * rng.uniform(0.86, 1.14, (1, TILE, 1)) * np.ones((TILE, 1, 3))
    return Outfit(
        skin=make_material(skin),
        hair=make_material(hair, np.clip(strands, 0, 255)),
        top=_cloth(rng, 0.3),
        bottom=_cloth(rng, 0.75, is_plain=rng.random() < 0.8),
        shoes=_cloth(rng, 0.7, is_plain=True),
        sleeve=str(rng.choice(["long", "short", "none"], p=[0.42, 0.48, 0.10])),
        legwear=str(rng.choice(["trousers", "shorts", "skirt"], p=[0.62, 0.23, 0.15])),
        hair_style=str(rng.choice(["short", "long", "bun", "cap", "bald"], p=[0.45, 0.27, 0.08, 0.14, 0.06])),
        hair_angle=float(rng.uniform(78, 96)),
        has_belt=bool(rng.random() < 0.35),
        front=str(rng.choice(["none", "tie", "buttons", "print"], p=[0.4, 0.12, 0.24, 0.24])),
        accent=sample_color(rng, 0.2),
    )
