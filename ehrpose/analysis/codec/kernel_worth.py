"""The gain from each compiled loop: decoding time with only that loop off, relative to all loops on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cv2

from ehrpose.analysis.codec.codec_benchmark import Case, load_poses, make_cases
from ehrpose.analysis.codec.maps_from_labels import Noise
from ehrpose.codecs import AssociativeEmbedding, accelerator
from ehrpose.config import read_config
from ehrpose.keypoint_meta import KeypointMeta

# The codec options of the shipped models, configs/ehrnet/small_coco-320.py.
SHIPPED = {
    "unbiased": True, "place_weight": 1.5, "score_power": 2.0, "score_size": 0.25, "pair_ratio": 0.5, "nms_oks": 0.5,
}  # fmt: skip
DECODINGS: dict[str, dict[str, Any]] = {
    "fast": {"mode": "fast"},
    "fast, shipped models": {"mode": "fast", **SHIPPED},
    "paper": {"mode": "paper"},
}
ALL = "all of them"


def time_without(case: Case, codec: AssociativeEmbedding, rounds: int) -> dict[str, float]:
    """Return the milliseconds of a decode without each compiled loop that the codec uses.

    Args:
        case: Case whose maps are decoded.
        codec: Codec that decodes them.
        rounds: Timed decodes of each map in each form, interleaved.

    Returns:
        CPU time of this thread, which other processes disturb least: the mean over the maps of the median over the
        rounds. The key ``""`` is for all loops on, a loop's name for that loop off, ``ALL`` for all loops off.

    Raises:
        RuntimeError: numba is not installed or is switched off.
    """
    loops = _loops()
    if not loops:
        raise RuntimeError(
            "expected compiled loops to compare with, got none: pip install -e '.[speed]' and unset EHRPOSE_NUMBA"
        )
    used = _used(loops, case, codec)
    forms = {"": [], **{name: [name] for name in used}, ALL: used}
    ms: dict[str, list[list[float]]] = {form: [[] for _ in case.maps] for form in forms}
    for turn in range(rounds + 1):
        for form, switched_off in forms.items():
            with _decoding_with({**loops, **dict.fromkeys(switched_off)}):
                for times, maps in zip(ms[form], case.maps):
                    start = time.thread_time()
                    codec.decode(maps)
                    if turn:  # the first round is a warm-up
                        times.append(1000 * (time.thread_time() - start))
    return {form: statistics.mean(map(statistics.median, times)) for form, times in ms.items()}


def _loops() -> dict[str, Any]:
    """Return the compiled loops by name; empty without numba."""
    module = accelerator.kernels()
    return {} if module is None else {name: getattr(module, name) for name in module.__all__}


def _decoding_with(loops: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Decode with these loops; None stands for a loop's NumPy form."""
    module = SimpleNamespace(**loops)
    # Calling a mock would take longer than some of the loops.
    return mock.patch.object(accelerator, "kernels", lambda file="kernels": module)  # noqa: PT008


def _used(loops: Mapping[str, Any], case: Case, codec: AssociativeEmbedding) -> list[str]:
    """Return the compiled loops that the codec calls for a case."""
    spies = {name: mock.Mock(wraps=loop) for name, loop in loops.items()}
    with _decoding_with(spies):
        for maps in case.maps:
            codec.decode(maps)
    return [name for name, spy in spies.items() if spy.called]


def print_kernels(
    keypoints_config: str,
    labels: str | None,
    people: Sequence[int],
    sides: Sequence[int],
    num_maps: int,
    rounds: int,
    num_threads: int,
    decodings: Mapping[str, Mapping[str, Any]] = DECODINGS,
) -> None:
    """Print a table with a column for each compiled loop: the factor by which decoding is slower without it.

    A cell is empty where the decoding does not use the loop. See ``tools/analysis_tools/benchmark_codec.py``.
    """
    cv2.setNumThreads(num_threads)
    names = [*_loops(), ALL]
    keypoints = KeypointMeta.build(read_config(keypoints_config).keypoints)
    cases = make_cases(keypoints, load_poses(keypoints, labels), people, sides, num_maps)
    print(f"CPU time, medians of {rounds} decodes of each of {num_maps} maps, noise: {Noise()}")
    head = ["decoding", "input", "people", "ms", *(f"`{name}`" for name in names[:-1]), ALL]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for decoding, options in decodings.items():
        for case in cases:
            ms = time_without(case, AssociativeEmbedding(case.side, keypoints, **options), rounds)
            cells = [decoding, f"{case.side}", f"{case.num_people}", f"{ms['']:.2f}"]
            cells += [f"{ms[name] / ms['']:.2f}" if name in ms else "" for name in names]
            print("| " + " | ".join(cells) + " |", flush=True)
