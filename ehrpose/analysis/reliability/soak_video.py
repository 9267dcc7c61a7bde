"""One video of hours, from its file to a table of people: memory and open files are watched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from ehrpose.analysis.reliability.results import Result
from ehrpose.counted import counted
from ehrpose.files import temporary_folder

FPS = 25
# The people walk round in this time, so that tracks begin and end all the while.
_LOOP_S = 8
_RUN = "import sys; from ehrpose.analysis.reliability.soak_video import work; work(*sys.argv[1:])"


def soak_video(model: str, hours: float, size_wh: tuple[int, int] = (128, 96)) -> Result:
    """Find and track the people of one drawn video, in a process of its own that writes JSON lines.

    Args:
        model: As for ``ehrpose predict``.
        hours: Length of the video.
        size_wh: Its width and height, px.

    Raises:
        ValueError: The model cannot be opened.
    """
    from ehrpose.analysis.reliability.soak import Watch

    num_frames = max(1, round(hours * 3600 * FPS))
    with temporary_folder() as folder:
        clip = folder / "hours.mp4"
        write_video(clip, num_frames, size_wh)
        with subprocess.Popen(
            [sys.executable, "-c", _RUN, model, str(clip)], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                if not process.stdout.readline():
                    raise ValueError(f"the process that opens {model} did not start: see what it printed")
                start = time.monotonic()
                with Watch(process.pid) as watch:
                    process.stdout.read()
                    code = process.wait()
                taken = time.monotonic() - start
            finally:
                process.kill()
        faults, note = watch.judge()
        rows = _rows(folder / "out" / "hours.jsonl")
    if code:
        faults.append(f"the process ended with {code}")
    if rows != num_frames:
        faults.append(f"the table has {rows:,} of {num_frames:,} frames")
    lost = "nothing" if rows == num_frames else counted(num_frames - rows, "frame")
    return Result("video", num_frames, taken, faults, lost, [f"a video of {hours:g} hours; {note}"])


def write_video(path: Path, num_frames: int, size_wh: tuple[int, int]) -> None:
    """Write a video of drawn people who walk, again and again."""
    from ehrpose.datasets.synthetic.video import SyntheticVideo
    from ehrpose.inferencers.predictors import open_predictor
    from ehrpose.media.writer import VideoWriter

    meta = open_predictor("ehrnet-small").meta
    drawn = SyntheticVideo(meta, min(num_frames, _LOOP_S * FPS), 0, (320, 240), fps=FPS)
    loop = [cv2.resize(np.asarray(frame.img), size_wh, interpolation=cv2.INTER_AREA) for frame in drawn]
    with VideoWriter(path, fps=FPS) as writer:
        for index in range(num_frames):
            writer.write(loop[index % len(loop)])


def work(model: str, clip: str) -> None:
    """Predict the video. The process that is watched."""
    from ehrpose.inferencers.inferencer import PoseInferencer

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with PoseInferencer(model) as inferencer:
        print("open", file=out, flush=True)
        folder = str(Path(clip).parent / "out")
        for _ in inferencer(clip, tracker=True, pred_out_dir=folder, pred_format="jsonl"):
            pass


def _rows(path: Path) -> int:
    """Return the number of lines, one for each frame."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)
