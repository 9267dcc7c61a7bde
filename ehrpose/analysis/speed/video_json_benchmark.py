"""Frames a second from a video file to its people, compared with the network and grouping alone."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.analysis.speed.batch_benchmark import draw_videos
from ehrpose.files import temporary_folder
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.media import VideoReader

ALONE = "network and grouping alone"


def measure(
    inferencer: PoseInferencer, seconds: float, size_wh: tuple[int, int], rounds: int
) -> tuple[int, dict[str, list[float]]]:
    """Time the ways in turn on a drawn video.

    Args:
        inferencer: Open model.
        seconds: Length of the video.
        size_wh: Its width and height, px.
        rounds: Turns of each way.

    Returns:
        The number of frames, and the seconds of each way in each round. ``ALONE`` has the frames in memory, and drops
        what it finds.
    """
    if min(seconds, *size_wh, rounds) <= 0:
        raise ValueError(f"expected positive numbers, got {seconds}, {size_wh} and {rounds}")
    predictor = inferencer.predictor
    with temporary_folder() as folder:
        (clip,) = draw_videos(folder, predictor.meta, 1, seconds, size_wh)
        with VideoReader(clip) as reader:
            frames = [image for image, _ in reader]

        def alone() -> None:
            for frame in frames:
                predictor.predict([frame])

        ways: dict[str, Callable[[], None]] = {
            ALONE: alone,
            "video to jsonl": lambda: _run(inferencer, clip, folder, pred_format="jsonl"),
            "video to video": lambda: _run(inferencer, clip, folder, out_file=folder / "out" / "drawn.mp4"),
        }
        _predict_some(inferencer, frames)
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, run in ways.items():
                start = time.perf_counter()
                run()
                taken[name].append(time.perf_counter() - start)
    return len(frames), taken


def _predict_some(inferencer: PoseInferencer, frames: list[np.ndarray]) -> None:
    for frame in frames[:5]:  # what is loaded and compiled at the first photos
        inferencer.predictor.predict([frame])


def _run(inferencer: PoseInferencer, clip: str, folder: Path, **written: Any) -> None:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    if "pred_format" in written:
        written = {**written, "pred_out_dir": out}
    for _ in inferencer(clip, **written):
        pass


def table(num_frames: int, taken: dict[str, list[float]]) -> str:
    """Return frames a second, and the median of the rounds' ratios to ``ALONE``, as a table."""
    lines = ["| way | frames/s | of the network and grouping alone |", "|---|---|---|"]
    for name, times in taken.items():
        ratio = statistics.median(base / own for base, own in zip(taken[ALONE], times, strict=True))
        lines.append(f"| {name} | {num_frames / statistics.median(times):.1f} | {ratio:.2f} |")
    return "\n".join(lines)
