"""Decoding times compared with the plain decoder and, if given, mmpose's, in one run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from ehrpose.analysis.codec.codec_ceiling import load_labels
from ehrpose.analysis.codec.maps_from_labels import Noise, noisy_maps, place_people
from ehrpose.codecs import AssociativeEmbedding, assembly, fast_decoding, paper_decoding
from ehrpose.codecs.accelerator import SWITCH, kernels
from ehrpose.codecs.heatmap import resize_maps
from ehrpose.codecs.reference import decode_reference
from ehrpose.config import read_config
from ehrpose.counted import counted
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.files import temporary_folder
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import Maps

STEPS = {
    "find_peaks": "peaks", "find_upsampled_peaks": "peaks", "rank_peaks": "peaks", "resize_maps": "resizing",
    "parabola_peak": "sub-pixel", "quarter_shift": "sub-pixel", "sample_bilinear": "scores", "_mean": "averaging",
    "group_peaks": "grouping", "fill_nearby": "filling", "find_by_tag": "filling", "_climb": "filling",
    "find_upsampled_by_tag": "filling",
}  # fmt: skip


NUMPY = ", NumPy"
# The plain decoder and mmpose's take minutes on the maps of larger inputs.
LARGEST_FOR_OTHERS = 1024
# Limits of the worst cases, which would otherwise take hours.
LARGEST_WORST, WORST_ROUNDS = 512, 3


@dataclass
class Case:
    """Maps with one number of people and one input size, and the milliseconds that each decoder took."""

    num_people: int
    side: int
    maps: list[Maps]
    ms: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.ms[name])


def make_cases(
    keypoints: KeypointMeta,
    poses: Sequence[np.ndarray],
    people: Sequence[int],
    sides: Sequence[int],
    num_maps: int,
    seed: int = 0,
) -> list[Case]:
    """Make noisy maps for each number of ``people`` and each input side, px."""
    cases = []
    for side in sides:
        codec = AssociativeEmbedding(side, keypoints)
        for count in people:
            rng = np.random.default_rng([seed, side, count])
            maps = [
                noisy_maps(codec, *place_people(poses, count, side, rng), (side, side), rng)
                for _ in range(num_maps)
            ]
            cases.append(Case(count, side, maps))
    return cases


def worst_cases(num_types: int, side: int, seed: int = 0) -> dict[str, Maps]:
    """Return worst-case maps by name, which no trained network outputs; ``side`` of the network's input is in px."""
    rng = np.random.default_rng(seed)
    low, high = (num_types, side // 4, side // 4), (num_types, side // 2, side // 2)
    equal = np.zeros(low, np.float32)
    spread = rng.normal(0, 100, low).astype(np.float32)
    lattice = np.zeros(high, np.float32)
    step = max(2, int((lattice.size / 10_000) ** 0.5))  # 10,000 peaks over all types
    lattice[:, ::step, ::step] = 0.9
    coarse = lattice[:, ::2, ::2].copy()
    noise = [rng.random(shape, np.float32) for shape in (low, high)]
    ones = [np.ones(shape, np.float32) for shape in (low, high)]
    return {
        "zeros": Maps(np.zeros(low, np.float32), equal, np.zeros(high, np.float32)),
        "ones, one tag": Maps(ones[0], equal, ones[1]),
        "ones, tags far apart": Maps(ones[0], spread, ones[1]),
        "noise from 0 to 1, one tag": Maps(noise[0], equal, noise[1]),
        "noise from 0 to 1, tags far apart": Maps(noise[0], spread, noise[1]),
        "10,000 peaks, one tag": Maps(coarse, equal, lattice),
        "10,000 peaks, tags far apart": Maps(coarse, spread, lattice),
    }


def time_decoders(case: Case, keypoints: KeypointMeta, rounds: int, with_reference: bool = True) -> None:
    """Time ``fast`` and ``paper`` decoding of a case, interleaved, and the plain decoder once per map."""
    codecs = {m: AssociativeEmbedding(case.side, keypoints, mode=m) for m in ("fast", "paper")}
    wh = (case.side, case.side)
    forms = [("", True), (NUMPY, False)] if kernels() is not None else [("", True)]
    case.ms.update({m + suffix: [] for m in codecs for suffix, _ in forms})
    for _, compiled in forms:  # warm-up
        with compiled_loops(compiled):
            for codec in codecs.values():
                codec.decode(case.maps[0])
    for _ in range(rounds):
        for maps in case.maps:
            for suffix, compiled in forms:
                with compiled_loops(compiled):
                    for name, codec in codecs.items():
                        case.ms[name + suffix].append(_milliseconds(lambda: codec.decode(maps)))  # noqa: B023
    if with_reference:
        settings = codecs["paper"].settings
        case.ms["plain"] = [
            _milliseconds(lambda: decode_reference([maps], wh, settings))  # noqa: B023
            for maps in case.maps
        ]


@contextmanager
def compiled_loops(enabled: bool) -> Iterator[None]:
    """Decode with the compiled loops or with NumPy's."""
    with mock.patch.dict(os.environ, {} if enabled else {SWITCH: "0"}):
        kernels.cache_clear()
        kernels()
        yield
    kernels.cache_clear()


def _milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def time_mmpose(cases: Sequence[Case], peer_python: str, script: Path, runs: int = 5) -> None:
    """Time mmpose's decoder, run by its own interpreter, at the size of the network input.

    Raises:
        RuntimeError: The decoder fails.
    """
    with temporary_folder() as folder:
        for number, case in enumerate(cases):
            wh = (case.side, case.side)
            for i, maps in enumerate(case.maps):
                heat = (resize_maps(maps.heat4, wh, False) + resize_maps(maps.heat2, wh, False)) / 2
                np.savez(
                    Path(folder, f"{number}_{i}.npz"), heatmaps=heat, tags=resize_maps(maps.tag4, wh, False)
                )
        done = subprocess.run(
            [peer_python, str(script), str(folder), "--runs", str(runs)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"mmpose's decoder failed under {peer_python}:\n{done.stderr[-1000:]}")
        answers = json.loads(Path(folder, "times.json").read_text())
    for number, case in enumerate(cases):
        case.ms["mmpose"] = [ms for i in range(len(case.maps)) for ms in answers[f"{number}_{i}"]]


def time_steps(case: Case, keypoints: KeypointMeta, mode: str, rounds: int) -> dict[str, float]:
    """Return the mean milliseconds of each decoding step, and of the rest as ``other``."""
    codec = AssociativeEmbedding(case.side, keypoints, mode=mode)
    spent: dict[str, float] = {}
    depth = [0]

    def timed(function: Callable, step: str) -> Callable:
        def wrapper(*args: Any) -> Any:
            if depth[0]:  # a nested step counts towards the outer one
                return function(*args)
            depth[0] += 1
            start = time.perf_counter()
            try:
                return function(*args)
            finally:
                depth[0] -= 1
                spent[step] = spent.get(step, 0.0) + time.perf_counter() - start

        return wrapper

    patches = [
        mock.patch.object(module, name, timed(getattr(module, name), step))
        for module in (assembly, paper_decoding, fast_decoding)
        for name, step in STEPS.items()
        if hasattr(module, name)
    ]
    for patch in patches:
        patch.start()
    try:
        total = sum(_milliseconds(lambda: codec.decode(maps)) for _ in range(rounds) for maps in case.maps)  # noqa: B023
    finally:
        for patch in patches:
            patch.stop()
    count = rounds * len(case.maps)
    steps = {step: 1000 * seconds / count for step, seconds in spent.items()}
    return {**steps, "other": total / count - sum(steps.values())}


def print_worst_cases(
    keypoints: KeypointMeta, sides: Sequence[int], rounds: int, ours: Sequence[str]
) -> None:
    """Print the decoding times of the worst cases."""
    print("| worst cases | input | " + " | ".join(ours) + " |\n|---|---" + "|---" * len(ours) + "|")
    for side in [side for side in sides if side <= LARGEST_WORST]:
        for name, maps in worst_cases(keypoints.num_keypoints, side).items():
            case = Case(0, side, [maps])
            time_decoders(case, keypoints, min(rounds, WORST_ROUNDS), with_reference=False)
            print(f"| {name} | {side} | " + " | ".join(f"{case.median(m):.2f}" for m in ours) + " |")


def print_threads(case: Case, keypoints: KeypointMeta, rounds: int, batch_size: int = 8) -> None:
    """Print the decoding times of batches by number of threads."""
    batch = [case.maps[i % len(case.maps)] for i in range(batch_size)]
    for mode in ("fast", "paper"):
        codec = AssociativeEmbedding(case.side, keypoints, mode=mode)
        ms: dict[int, list[float]] = {threads: [] for threads in (1, 2, 4)}
        for _ in range(max(rounds // 3, 1)):
            for threads, times in ms.items():
                times.append(_milliseconds(lambda: codec.decode_batch(batch, threads)))  # noqa: B023
        medians = {threads: statistics.median(times) / batch_size for threads, times in ms.items()}
        people = counted(case.num_people, "person", "people")
        print(f"{mode}, {people}, {case.side} px, batch of {batch_size}, ms per image by threads: "
              + ", ".join(f"{threads}: {median:.2f}" for threads, median in medians.items()))  # fmt: skip


def load_poses(keypoints: KeypointMeta, labels: str | None, num_scenes: int = 60) -> list[np.ndarray]:
    """Return (K, 3) poses with at least half of the keypoints, from a COCO json or the synthetic dataset."""
    if labels is None:
        scenes = SyntheticPeople(keypoints, length=num_scenes)
        images = [scenes.get_data_info(i)["raw_anns"] for i in range(num_scenes)]
    else:
        images = [image["annotations"] for image in load_labels(labels)]
    poses = [
        np.array(annotation["keypoints"], np.float32).reshape(-1, 3)
        for annotations in images
        for annotation in annotations
        if not annotation.get("iscrowd")
    ]
    if poses and len(poses[0]) != keypoints.num_keypoints:
        raise ValueError(
            f"expected labels with {keypoints.num_keypoints} keypoints, as the skeleton has, got {len(poses[0])}"
        )
    return [pose for pose in poses if (pose[:, 2] > 0).mean() >= 0.5]


def print_benchmark(
    keypoints_config: str,
    labels: str | None,
    people: Sequence[int],
    sides: Sequence[int],
    num_maps: int,
    rounds: int,
    with_plain: bool,
    peer_python: str | None,
    peer_script: Path,
    num_threads: int,
) -> None:
    """Print medians, ratios and the time of each step; see ``tools/analysis_tools/benchmark_codec.py``."""
    cv2.setNumThreads(num_threads)
    keypoints = KeypointMeta.build(read_config(keypoints_config).keypoints)
    cases = make_cases(keypoints, load_poses(keypoints, labels), people, sides, num_maps)
    if peer_python:
        time_mmpose([c for c in cases if c.side <= LARGEST_FOR_OTHERS], peer_python, peer_script)
    for case in cases:
        time_decoders(case, keypoints, rounds, with_plain and case.side <= LARGEST_FOR_OTHERS)
    compiled = "compiled loops (numba)" if kernels() is not None else "NumPy only"
    print(f"Median milliseconds, {num_maps} maps each, {compiled}, noise: {Noise()}")
    rivals = [name for name in ("plain", "mmpose") if name in cases[0].ms]
    ours = [name for name in cases[0].ms if name not in rivals]
    head = ["people", "input", "maps", *ours, *rivals]
    head += [f"{rival} / {mode}" for rival in rivals for mode in ("paper", "fast")]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for case in cases:
        cells = [f"{case.num_people}", f"{case.side}", f"{case.side // 4}, {case.side // 2}"]
        cells += [f"{case.median(name):.2f}" if name in case.ms else "-" for name in (*ours, *rivals)]
        cells += [
            f"{case.median(rival) / case.median(mode):.0f}" if rival in case.ms else "-"
            for rival in rivals for mode in ("paper", "fast")
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")
    print_worst_cases(keypoints, sides, rounds, ours)
    for case in cases:
        if case.num_people == people[-1] and case.side <= LARGEST_FOR_OTHERS:
            print_threads(case, keypoints, rounds)
    for mode in ("fast", "paper"):
        for case in cases:
            if case.side == min(sides, key=lambda side: abs(side - 512)):
                steps = sorted(time_steps(case, keypoints, mode, rounds).items(), key=lambda item: -item[1])
                print(f"{mode}, {counted(case.num_people, 'person', 'people')}, {case.side} px: "
                      + ", ".join(f"{step} {ms:.2f}" for step, ms in steps))  # fmt: skip
