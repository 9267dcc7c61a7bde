"""Decoding times of the part-affinity codec: ``fast`` against ``paper``, which stands in for its authors' procedure.

``paper`` does the same work as the authors' Python code, resizing included, on maps of the input's size; theirs have
the photo's size, which is usually larger.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import cv2
import numpy as np

from ehrpose.analysis.codec.codec_benchmark import NUMPY, compiled_loops, load_poses
from ehrpose.analysis.codec.maps_from_labels import place_people
from ehrpose.codecs.accelerator import kernels
from ehrpose.codecs.part_affinity import PartAffinity
from ehrpose.config import read_config
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import FieldMaps

_NOISE = 0.02  # standard deviation on heatmaps and fields
_STRIDE = 8


def make_maps(
    keypoints: KeypointMeta, poses: Sequence[np.ndarray], count: int, side: int, num_maps: int
) -> list[FieldMaps]:
    """Return noisy maps of ``count`` people each in a square input of ``side`` px."""
    codec = PartAffinity(side, keypoints, parts="coco-18")
    rng = np.random.default_rng([side, count])
    made = []
    for _ in range(num_maps):
        maps = codec.ideal_maps(*place_people(poses, count, side, rng), (side, side))
        made.append(
            FieldMaps(*(one + _NOISE * rng.standard_normal(one.shape).astype(np.float32) for one in maps))
        )
    return made


def print_part_benchmark(
    keypoints_config: str,
    labels: str | None,
    people: Sequence[int],
    sides: Sequence[int],
    num_maps: int,
    rounds: int,
    num_threads: int,
) -> None:
    """Print medians; see ``tools/analysis_tools/benchmark_codec.py``."""
    cv2.setNumThreads(num_threads)
    keypoints = KeypointMeta.build(read_config(keypoints_config).keypoints)
    poses = load_poses(keypoints, labels)
    forms = [("fast", True), ("fast" + NUMPY, False)] if kernels("part_kernels") else [("fast", True)]
    names = [*(name for name, _ in forms), "paper"]
    print(f"Median milliseconds of processor time, {num_maps} maps each, noise {_NOISE}")
    head = ["people", "input", "maps", *names, "paper / fast"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for side in sides:
        side = -(-side // _STRIDE) * _STRIDE
        codecs = {
            mode: PartAffinity(side, keypoints, parts="coco-18", mode=mode) for mode in ("fast", "paper")
        }
        for count in people:
            ms: dict[str, list[float]] = {name: [] for name in names}
            cases = make_maps(keypoints, poses, count, side, num_maps)
            for _, compiled in forms:  # warm-up
                with compiled_loops(compiled):
                    codecs["fast"].decode(cases[0])
            for _ in range(rounds):
                for maps in cases:
                    for name, compiled in (*forms, ("paper", True)):
                        with compiled_loops(compiled):
                            start = time.process_time()
                            codecs[name.split(",")[0]].decode(maps)
                            ms[name].append(1000 * (time.process_time() - start))
            medians = {name: statistics.median(times) for name, times in ms.items()}
            cells = [f"{count}", f"{side}", f"{side // _STRIDE}", *(f"{medians[name]:.2f}" for name in names)]
            print("| " + " | ".join([*cells, f"{medians['paper'] / medians['fast']:.0f}"]) + " |", flush=True)
