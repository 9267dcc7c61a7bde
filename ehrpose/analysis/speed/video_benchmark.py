"""Overlap of the steps on a video: PoseInferencer compared with the same steps one after another."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from ehrpose.files import temporary_folder
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.media import VideoReader, VideoWriter
from ehrpose.visualization.drawing import draw_people

Value = TypeVar("Value")
STEPS = ("read", "find", "draw", "write")


def write_clip(path: Path, picture: np.ndarray, size_wh: tuple[int, int], num_frames: int) -> None:
    """Write a video of ``picture`` (H, W, 3) uint8, stretched to ``size_wh`` px, that scrolls to the right."""
    scene = cv2.resize(picture, size_wh, interpolation=cv2.INTER_CUBIC)
    with VideoWriter(path, fps=25) as writer:
        for i in range(num_frames):
            writer.write(np.ascontiguousarray(np.roll(scene, 3 * i, axis=1)))


def run_serial(inferencer: PoseInferencer, source: Path, target: Path) -> dict[str, float]:
    """Read, find, draw and write one frame after the other; return the seconds of each step."""
    seconds = dict.fromkeys(STEPS, 0.0)

    def timed(step: str, call: Callable[[], Value]) -> Value:
        start = time.perf_counter()
        value = call()
        seconds[step] += time.perf_counter() - start
        return value

    predictor, writer = inferencer.predictor, None
    with VideoReader(source) as reader:
        frames: Iterator[Any] = iter(reader)
        while (frame := timed("read", lambda: next(frames, None))) is not None:
            image = frame[0]
            people = timed("find", lambda image=image: predictor.predict([image])[0])  # type: ignore[misc]
            people = people.select(people.scores >= 0.1)
            picture = timed(
                "draw",
                lambda image=image, people=people: draw_people(  # type: ignore[misc]
                    image, people.keypoints, people.keypoint_scores, predictor.meta
                ),
            )
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(target), code, reader.fps, image.shape[1::-1])
            timed("write", lambda writer=writer, picture=picture: writer.write(picture))  # type: ignore[misc]
    assert writer is not None  # the reader raises for a video without frames
    writer.release()
    return seconds


def print_benchmark(
    model: str,
    weights: str | None,
    device: str | None,
    backend: str | None,
    threads: int | None,
    size_wh: tuple[int, int],
    num_frames: int,
    rounds: int,
    cfg_options: dict[str, Any] | None = None,
) -> float:
    """Print the seconds of both ways, and print and return their ratio, serial to overlapped.

    Args:
        model: See PoseInferencer, also for the next four.
        weights: Checkpoint.
        device: Device of a torch model.
        backend: Backend of an exported file.
        threads: Threads of the network.
        size_wh: Width and height of the synthetic clip, px.
        num_frames: Length of the clip.
        rounds: Runs of each way, interleaved; the fastest counts.
        cfg_options: Values that replace those of the config.
    """
    from ehrpose.deploy.pipeline import drawn_scene

    if min(*size_wh, num_frames, rounds) < 1:
        raise ValueError(
            f"size, frames and rounds must be positive, got {size_wh}, {num_frames} and {rounds}"
        )
    inferencer = PoseInferencer(
        model, weights, device, backend, cfg_options, mode="fast", flip_test=False, num_threads=threads
    )
    with inferencer, temporary_folder() as folder:
        clip, out = folder / "clip.mp4", folder / "out.mp4"
        write_clip(clip, drawn_scene(inferencer.predictor.meta, (384, 384)), size_wh, num_frames)
        for _ in itertools.islice(inferencer(clip), 3):  # warm up
            pass
        serial, overlapped = [], []
        for _ in range(rounds):
            serial.append(run_serial(inferencer, clip, out))
            start = time.perf_counter()
            for _ in inferencer(clip, out_file=out, keep_sound=False):
                pass
            overlapped.append(time.perf_counter() - start)
    best = min(serial, key=lambda seconds: sum(seconds.values()))
    one_by_one, together = sum(best.values()), min(overlapped)
    steps = ", ".join(f"{step} {1000 * best[step] / num_frames:.1f}" for step in STEPS)
    print(f"{num_frames} frames of {size_wh[0]} x {size_wh[1]}, {inferencer.predictor.name}")
    print(
        f"one after another  {one_by_one:6.2f} s, {num_frames / one_by_one:6.1f} frames/s (ms per frame: {steps})"
    )
    print(f"side by side       {together:6.2f} s, {num_frames / together:6.1f} frames/s")
    print(
        f"ratio {one_by_one / together:.2f}, at best {one_by_one / max(best.values()):.2f} (the longest step alone)"
    )
    return one_by_one / together
