"""Decode generated maps, extremes included, with and without the compiled loops, and compare.

Each case ends in people or in ValueError, the same in both forms, bit for bit. Cases follow from the seed and their
number alone, so each can be repeated.

Axes: K keypoint types, T tag length, M candidates of a type.
"""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from ehrpose.codecs import AssociativeEmbedding
from ehrpose.codecs.accelerator import SWITCH, kernels
from ehrpose.counted import counted
from ehrpose.progress import Progress
from ehrpose.structures import Maps, PeakMaps, People

# Six keypoints in three mirror pairs: enough for grouping, filling and the separation of sides.
_PARTS = ("hip", "knee", "ankle")
_SIDES = ("left", "right")
SKELETON = {
    "dataset_name": "legs",
    "names": [f"{side}_{part}" for part in _PARTS for side in _SIDES],
    "swap": [(f"left_{part}", f"right_{part}") for part in _PARTS],
    "skeleton": [(f"{s}_{a}", f"{s}_{b}") for s in _SIDES for a, b in zip(_PARTS, _PARTS[1:])],
    "sigmas": [0.1] * 6,
    "limb_lengths": [1.0] * 4,
}
NUM_TYPES = 6
# float32 values at which arithmetic changes: zeros, subnormal numbers, limits of float16 and float32, what is refused.
EXTREMES = np.array(
    [0, -0.0, 1e-45, 1e-38, 1e-7, 0.1, 0.5, 1, 65504, 2**24, 1e9, 1e15, 1.1e15, 1e19, 1e30, 3.4e38, np.inf, np.nan],
    np.float32,
)  # fmt: skip
_ACCEPTED = EXTREMES[:12]
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "max_candidates": (6, 6, 30, 1),
    "min_score": (0.1, 0.1, 0.0, 1e-30, 1e30, -0.5),
    "max_tag_dist": (1.0, 1.0, 0.0, 1e200, float("inf")),
    "fill_missing": (True, True, False),
    "min_keypoints": (1, 1, 3),
    "max_spread": (None, None, 3.0, float("inf")),
    "nms_oks": (None, None, 0.7, 0.0),
    "place_weight": (0.0, 0.0, 1.5, 1e300),
    "score_power": (1.0, 1.0, 2.0, 0.5, 1e-300, 1e300),
    "score_size": (0.0, 0.0, 0.25, 1e300),
    "pair_ratio": (None, 0.5, 0.5, 0.0),
    "limb_weight": (0.3, 0.0, 1e300),
    "max_limb": (None, 2.0, 1.01, 1e300),
    "dist_reweight": (False, False, True),
    "scale_tags": ("first", "first", "all"),
    "resize": ("direct", "two_step"),
    "refine": ("quarter", "dark"),
}
BATCH = 200
# Side of the maps at stride 4, px: small ones suffice for all branches, and a million of them for an hour.
LARGEST_SIDE = 4


@dataclass
class Case:
    """Maps or candidates of one image, and the codec that decodes them."""

    codec: AssociativeEmbedding
    maps: Maps | list[Maps] | PeakMaps
    input_wh: tuple[int, int]

    def decode(self) -> People:
        """Return the people."""
        if isinstance(self.maps, PeakMaps):
            return self.codec.decode_peaks(self.maps, self.input_wh)
        return self.codec.decode(self.maps)


@dataclass
class Findings:
    """What became of the cases.

    Attributes:
        outcomes: Number of cases by outcome: ``people``, ``nobody`` or ``refused``.
        faults: Description of each case that broke the rules, with its number.
        slowest_ms: Longest time of one decode in each form, ms of this thread's processor time.
        slow: Number of decodes that took longer than the limit in each of three tries.
    """

    outcomes: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_ms: dict[str, float] = field(default_factory=lambda: {"compiled": 0.0, "NumPy": 0.0})
    slow: int = 0


def make_codecs(seed: int, number: int = 64) -> list[AssociativeEmbedding]:
    """Return codecs of random geometry, mode and options; extreme options are rare."""
    rng = np.random.default_rng(seed)
    codecs = []
    for _ in range(number):
        options = {name: values[rng.integers(len(values))] for name, values in _OPTIONS.items()}
        if rng.random() < 0.7:  # leave a few options off the beaten track at a time
            for name in rng.permutation(sorted(_OPTIONS))[3:]:
                options[name] = _OPTIONS[name][0]
        mode = ("fast", "fast", "paper")[rng.integers(3)]
        strides = ((4, 2), (4,), (2,))[rng.integers(3)]
        options["unbiased"] = bool(rng.integers(2))
        if len(strides) == 1 and not options["unbiased"]:
            options["cell_offset"] = (0.5, 0.0, 0.25)[rng.integers(3)]
        codecs.append(AssociativeEmbedding(32, SKELETON, strides, strides[:1], mode=mode, **options))
    return codecs


def make_case(codecs: list[AssociativeEmbedding], seed: int, index: int) -> Case:
    """Return case number ``index``."""
    rng = np.random.default_rng([seed, index])
    codec = codecs[rng.integers(len(codecs))]
    height, width = (1, 1) if rng.random() < 0.1 else rng.integers(1, LARGEST_SIDE + 1, 2).tolist()
    num_tags = (1, 1, 1, 2, 3, 9 if height * width < 9 else 1)[rng.integers(6)]
    if codec.mode == "fast" and codec.settings.min_score >= 0 and rng.random() < 0.2:
        m = int(rng.integers(0, 8))
        num_pixels = (4 // codec.strides[-1]) ** 2 * height * width
        pixels = rng.integers(0, num_pixels, (NUM_TYPES, m)).astype(np.int32)
        if m and rng.random() < 0.1:  # one of them outside of the map
            pixels[0, 0] = (-1, 2**31 - 1, num_pixels)[rng.integers(3)]
        shapes = ((NUM_TYPES, m), (NUM_TYPES, m, 4), (NUM_TYPES, m, 9), (num_tags, NUM_TYPES, m, 9))
        scores, cross, heat, tags = (_values(rng, shape, tag=len(shape) == 4) for shape in shapes)
        return Case(codec, PeakMaps(scores, pixels, cross, heat, tags), (4 * width, 4 * height))
    stride = codec.strides[0]
    maps = [_maps(rng, codec, height, width, num_tags)]
    if rng.random() < 0.1:  # a second test scale
        other_height, other_width = rng.integers(1, LARGEST_SIDE + 1, 2).tolist()
        maps.append(_maps(rng, codec, other_height, other_width, num_tags))
    return Case(codec, maps[0] if len(maps) == 1 else maps, (stride * width, stride * height))


def _maps(
    rng: np.random.Generator, codec: AssociativeEmbedding, height: int, width: int, num_tags: int
) -> Maps:
    """Return maps of which the coarsest are of ``height`` and ``width``."""
    coarse, fine = codec.strides[0], codec.strides[-1]
    fields = {}
    if fine != coarse:
        fields["heat2"] = _values(rng, (NUM_TYPES, 2 * height, 2 * width))
    fields[f"heat{coarse}"] = _values(rng, (NUM_TYPES, height, width))
    fields[f"tag{coarse}"] = _values(rng, (num_tags * NUM_TYPES, height, width), tag=True)
    return Maps(**fields)


def _values(rng: np.random.Generator, shape: tuple[int, ...], tag: bool = False) -> np.ndarray:
    """Return float32 values: ordinary ones, ones with ties, or some or all of extreme size."""
    kind = rng.integers(8)
    values = rng.normal(0, 2, shape) if tag else np.abs(rng.normal(0, 0.3, shape))
    if kind == 1:
        values = np.round(values * 4) / 4
    elif kind == 2:
        values = np.full(shape, rng.choice(_ACCEPTED) * rng.choice([-1, 1]))
    elif kind == 3:  # all sizes that are accepted
        values = values * 10.0 ** rng.uniform(-45, 15, shape)
    elif kind == 4:  # one size
        values = values * 10.0 ** rng.uniform(-45, 15)
    elif kind == 5:
        values = np.where(
            rng.random(shape) < 0.3, rng.choice(_ACCEPTED, shape) * rng.choice([-1, 1], shape), values
        )
    elif kind == 6 and rng.random() < 0.3:
        values = np.where(rng.random(shape) < 0.05, rng.choice(EXTREMES, shape), values)
    return np.clip(values, -3.4e38, 3.4e38).astype(np.float32) if kind < 5 else values.astype(np.float32)


@contextmanager
def form(compiled: bool) -> Iterator[None]:
    """Decode with the compiled loops, or with NumPy alone.

    Raises:
        ValueError: numba is not installed.
    """
    with mock.patch.dict(os.environ, {SWITCH: str(int(compiled))}):
        kernels.cache_clear()
        try:
            if compiled and kernels() is None:
                raise ValueError("comparing the two forms needs numba: pip install numba")
            yield
        finally:
            kernels.cache_clear()


def outcome_of(case: Case) -> tuple[str, list[np.ndarray]]:
    """Return ``people``, ``nobody`` or ``refused`` with the people's arrays, or a description of the fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            people = case.decode()
    except ValueError as error:
        expected = ("NaN or infinity", "expected", "overflow")
        return ("refused" if any(words in str(error) for words in expected) else f"ValueError: {error}"), []
    except Exception as error:  # what the codec does not promise
        return f"{type(error).__name__}: {error}", []
    arrays = [people.keypoints, people.keypoint_scores, people.scores]
    if people.tags is not None:
        arrays.append(people.tags)
    if not all(np.isfinite(array).all() for array in arrays):
        return "people that are not finite", arrays
    return ("people" if len(people) else "nobody"), arrays


def compare(cases: dict[int, Case], findings: Findings, limit_ms: float = 50.0) -> None:
    """Decode cases in both forms and add what is found.

    Args:
        cases: Cases by number.
        findings: Changed in place.
        limit_ms: A decode that takes longer is slow.
    """
    answers = {}
    for name, compiled in (("compiled", True), ("NumPy", False)):
        with form(compiled):
            for index, case in cases.items():
                start = time.thread_time()
                answers[name, index] = outcome_of(case)
                taken = 1e3 * (time.thread_time() - start)
                if taken > limit_ms:  # maybe for another reason: the best of three counts
                    taken = min(taken, *(_milliseconds(case.decode) for _ in range(2)))
                    findings.slow += taken > limit_ms
                findings.slowest_ms[name] = max(findings.slowest_ms[name], taken)
    for index in cases:
        (one, first), (other, second) = answers["compiled", index], answers["NumPy", index]
        findings.outcomes[one] += 1
        if one not in ("people", "nobody", "refused") or one != other:
            findings.faults.append(f"case {index}: compiled {one}, NumPy {other}")
        elif len(first) != len(second) or not all(map(np.array_equal, first, second)):
            findings.faults.append(f"case {index}: other people in the two forms")


def _milliseconds(function: Callable[[], Any]) -> float:
    start = time.thread_time()
    with suppress(ValueError):
        function()
    return 1e3 * (time.thread_time() - start)


def fuzz(number: int, seed: int = 0, start: int = 0) -> Findings:
    """Compare the two forms on cases ``start`` to ``start + number - 1``.

    Raises:
        ValueError: numba is not installed.
    """
    codecs, findings = make_codecs(seed), Findings()
    with form(compiled=True):  # compile or load the loops before any time is taken
        for index in range(200):
            outcome_of(make_case(codecs, seed, index))
    with Progress(number, "maps") as progress:
        for first in range(start, start + number, BATCH):
            indices = range(first, min(first + BATCH, start + number))
            compare({index: make_case(codecs, seed, index) for index in indices}, findings)
            progress.step(len(indices))
    return findings


def print_fuzz(number: int, seed: int = 0, start: int = 0) -> bool:
    """Print what ``fuzz`` finds; return whether it found no fault."""
    findings = fuzz(number, seed, start)
    print(f"{counted(number, 'map')} of seed {seed}: {dict(findings.outcomes)}")
    slowest = ", ".join(f"{name} {value:.1f} ms" for name, value in findings.slowest_ms.items())
    print(f"slowest: {slowest}; over 50 ms: {findings.slow}")
    print("\n".join([f"faults: {len(findings.faults)}", *findings.faults[:20]]))
    return not findings.faults and not findings.slow
