"""Decoding times of the PersonLab codec compared with a plain decoder, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from ehrpose.analysis.codec.codec_benchmark import load_poses
from ehrpose.analysis.codec.maps_from_labels import place_people
from ehrpose.analysis.codec.plain_personlab import decode_plain
from ehrpose.codecs.personlab import PersonLab
from ehrpose.config import read_config
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import OffsetMaps

# Standard deviations of the noise on logits, and on offsets, px.
_NOISE = (0.3, 1.0)


def maps_of_targets(codec: PersonLab, targets: Mapping[str, np.ndarray]) -> OffsetMaps:
    """Return maps that a perfect network would output for the targets of one image.

    Logits are 4 at a keypoint, 0 at the edge of its disc and -6 outside; offsets are 0 where there is nothing to learn.
    """
    short = np.nan_to_num(targets["short"])
    squares = short[: codec.num_keypoints] ** 2 + short[codec.num_keypoints :] ** 2
    heat = np.where(targets["heat"] > 0, 4 * (1 - squares / codec.radius**2), -6).astype(np.float32)
    return OffsetMaps(heat, short, np.nan_to_num(targets["forward"]), np.nan_to_num(targets["backward"]))


def make_maps(
    codec: PersonLab, poses: Sequence[np.ndarray], count: int, num_maps: int, seed: int = 0
) -> list[OffsetMaps]:
    """Return noisy maps of ``count`` people each, in an input of the codec's size."""
    rng = np.random.default_rng([seed, codec.input_size, count])
    made = []
    for _ in range(num_maps):
        maps = maps_of_targets(codec, codec.encode(*place_people(poses, count, codec.input_size, rng)))
        noise = [_NOISE[0]] + [_NOISE[1]] * 3
        fields = (field + rng.normal(0, size, field.shape) for field, size in zip(maps[:4], noise))
        made.append(OffsetMaps(*(field.astype(np.float32) for field in fields)))
    return made


def print_personlab_benchmark(
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
    print(
        f"Median milliseconds of the processor, {num_maps} maps each; plain: PoseNet's decoding in Python and NumPy"
    )
    print("| people | input | found | fast | paper | plain | plain / fast |")
    print("|---|---|---|---|---|---|---|")
    for side in sides:
        side = max(round(side / 16), 1) * 16 + 1
        codecs = {mode: PersonLab(side, keypoints, mode=mode) for mode in ("fast", "paper")}
        settings, edges = codecs["paper"].settings, codecs["paper"].tree.edges.tolist()
        for count in people:
            cases = make_maps(codecs["fast"], poses, count, num_maps)
            found = [len(codec.decode(cases[0])) for codec in codecs.values()]  # and warm-up
            ms: dict[str, list[float]] = {name: [] for name in (*codecs, "plain")}
            arguments = (16, settings.nms_radius, settings.min_score, settings.max_people)
            for _ in range(rounds):
                for maps in cases:
                    for name, codec in codecs.items():
                        ms[name].append(_milliseconds(lambda: codec.decode(maps)))  # noqa: B023
            for maps in cases * min(rounds, 5):
                ms["plain"].append(_milliseconds(lambda: decode_plain(maps, edges, *arguments)))  # noqa: B023
            fast, paper, plain = (statistics.median(ms[name]) for name in ("fast", "paper", "plain"))
            cells = f"| {count} | {side} | {found[0]} | {fast:.2f} | {paper:.2f} | {plain:.1f} | {plain / fast:.0f} |"
            print(cells, flush=True)


def _milliseconds(decode: Callable[[], object]) -> float:
    start = time.thread_time()
    decode()
    return 1000 * (time.thread_time() - start)
