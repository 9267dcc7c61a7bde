"""Speed of a batch by its worker processes, compared with one process that takes a video after the other."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from ehrpose.batch.inputs import find_inputs
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.run import run_batch, share_cores
from ehrpose.counted import counted
from ehrpose.datasets.synthetic.video import SyntheticVideo
from ehrpose.files import temporary_folder
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.media import VideoWriter

FPS = 25.0


def draw_videos(folder: Path, meta: Any, count: int, seconds: float, size_wh: tuple[int, int]) -> list[str]:
    """Write videos of drawn people who walk; return their names."""
    names = []
    for seed in range(count):
        path = folder / f"walk{seed}.mp4"
        with VideoWriter(path, fps=FPS) as writer:
            for frame in SyntheticVideo(meta, round(seconds * FPS), seed, size_wh, fps=FPS):
                writer.write(frame.img)
        names.append(str(path))
    return names


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that have ended; 0 on Windows."""
    if sys.platform == "win32":
        return 0.0
    import resource

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def print_benchmark(
    options: BatchOptions, count: int, seconds: float, size_wh: tuple[int, int], rounds: int
) -> dict[str, float]:
    """Print the seconds of all ways, interleaved, and print and return the ratios of their medians to the batch's.

    The one process opens its model once; its imports and the drawing of the videos are not timed. Of the batch
    everything is, from the start of its workers to the table.

    Args:
        options: Model, workers, threads. The one process has the threads of all workers, and another time those of one.
        count: Number of videos.
        seconds: Length of each.
        size_wh: Width and height, px.
        rounds: Runs of each way.

    Raises:
        ValueError: A number is not positive.
    """
    if min(count, seconds, *size_wh, rounds) <= 0:
        raise ValueError(f"expected positive numbers, got {count}, {seconds}, {size_wh} and {rounds}")
    workers, threads = share_cores(options)
    processes = {f"one process, {counted(n, 'thread')}": n for n in sorted({threads, workers * threads})}
    ways = {**dict.fromkeys(processes, _one_process), "batch": _batch}
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with PoseInferencer(options.model, options.weights, "cpu", options.backend, num_threads=1) as first:
        meta, name = first.predictor.meta, first.predictor.name
    with temporary_folder() as folder:
        videos = draw_videos(folder, meta, count, seconds, size_wh)
        for number in range(rounds):
            for way, run in ways.items():
                start, used = time.perf_counter(), cpu_seconds()
                run(options, videos, folder / f"{way} {number}", processes.get(way, 0))
                taken[way].append((time.perf_counter() - start, cpu_seconds() - used))
    frames = count * round(seconds * FPS)
    print(f"{count} videos of {seconds:g} s, {size_wh[0]} x {size_wh[1]}, {frames} frames, {name}")
    medians = {}
    for way, pairs in taken.items():
        medians[way], used = (statistics.median(values) for values in zip(*pairs))
        rate = frames / medians[way]
        print(f"{way:23} {medians[way]:7.2f} s, {rate:6.1f} frames/s, {used:7.2f} s of CPU time")
    ratios = {way: medians[way] / medians["batch"] for way in processes}
    print(f"batch with {counted(workers, 'worker')} of {counted(threads, 'thread')} each:")
    for way, ratio in ratios.items():
        print(f"  {ratio:.2f} times as fast as {way}")
    return ratios


def _one_process(options: BatchOptions, videos: list[str], out: Path, threads: int) -> None:
    model = (options.model, options.weights, options.device, options.backend)
    with PoseInferencer(*model, mode=options.mode, num_threads=threads) as inferencer:
        for video in videos:
            for _ in inferencer(video, options.batch_size, pred_out_dir=out, pred_format="jsonl"):
                pass


def _batch(options: BatchOptions, videos: list[str], out: Path, threads: int) -> None:
    run_batch(find_inputs(videos), out, options)
