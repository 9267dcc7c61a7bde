"""Long runs of predict and of the web server under load: memory, open files and answers are watched.

Linux only: memory and open files are read from /proc.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.analysis.reliability.results import Result
from ehrpose.analysis.reliability.soak_video import soak_video
from ehrpose.analysis.speed.web_load import ask, resident, server, tree
from ehrpose.counted import counted
from ehrpose.files import temporary_folder, write_bytes

# Memory and open files of the last tenth of the time are compared with those after the first third, when libraries are
# loaded and caches full. More growth is a fault.
GROWTH_SHARE, GROWTH_MB, GROWTH_FILES = 0.05, 20.0, 5
CLIENTS = 3
_EVERY_S = 0.5
_RUN = "import sys; from ehrpose.analysis.reliability.soak import work; work(*sys.argv[1:])"


class Watch:
    """Memory and open files of a process and its descendants over time."""

    def __init__(self, pid: int):
        self.pid = pid
        self.samples: list[tuple[float, float, int]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(_EVERY_S):
            memory = resident(self.pid) / 1e6
            if memory:
                self.samples.append((time.monotonic(), memory, sum(map(_open_files, tree(self.pid)))))

    def judge(self) -> tuple[list[str], str]:
        """Return the faults, and a note with memory and open files, early and late."""
        return judge(self.samples)


def judge(samples: Sequence[tuple[float, float, int]]) -> tuple[list[str], str]:
    """Return faults and a note for samples of time (s), memory (MB) and open files."""
    if len(samples) < 10:
        return [], "too short to compare memory"
    data = np.array(samples, float)
    passed = (data[:, 0] - data[0, 0]) / (data[-1, 0] - data[0, 0])
    early = np.median(data[(passed >= 1 / 3) & (passed <= 0.5)], axis=0)
    late = np.median(data[passed >= 0.9], axis=0)
    note = f"memory {early[1]:.0f} MB, at the end {late[1]:.0f} MB; open files {early[2]:.0f}, at the end {late[2]:.0f}"
    faults = []
    if late[1] - early[1] > GROWTH_MB + GROWTH_SHARE * early[1]:
        faults.append(f"memory grew from {early[1]:.0f} to {late[1]:.0f} MB")
    if late[2] - early[2] > GROWTH_FILES:
        faults.append(f"open files grew from {early[2]:.0f} to {late[2]:.0f}")
    return faults, note


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:  # it ended
        return 0


def soak(model: str, areas: Sequence[str], seconds: float, video_hours: float = 2.0) -> list[Result]:
    """Run areas one after the other, each for its share of the time.

    Args:
        model: As for ``ehrpose predict``.
        areas: ``"predict"``, ``"web"``, ``"video"``.
        seconds: Time of all together but ``"video"``, which takes as long as its video.
        video_hours: Length of that video.

    Raises:
        ValueError: This is not Linux, or the model or the server does not start.
    """
    if not Path("/proc/self/fd").exists():
        raise ValueError("memory and open files are read from /proc: expected Linux")
    runs = {
        "predict": _soak_predict,
        "web": _soak_web,
        "video": lambda model, _: soak_video(model, video_hours),
    }
    return [runs[area](model, seconds / len(areas)) for area in areas]


def photos(number: int = 4) -> list[np.ndarray]:
    """Return (H, W, 3) uint8 pictures of several sizes."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (number, 24, 32, 3), dtype=np.uint8)
    return [
        cv2.resize(few, (320 + 96 * i, 480 - 64 * i), interpolation=cv2.INTER_CUBIC)
        for i, few in enumerate(noise)
    ]


def _soak_predict(model: str, seconds: float) -> Result:
    command = [sys.executable, "-c", _RUN, model, str(seconds)]
    counts: Counter = Counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise ValueError(f"the process that opens {model} did not start: see what it printed")
            start = time.monotonic()
            with Watch(process.pid) as watch:
                for line in process.stdout:
                    counts.update(json.loads(line))
                taken = time.monotonic() - start
            code = process.wait()
        finally:
            process.kill()
    faults, note = watch.judge()
    if counts["other"]:
        faults.append(f"{counted(counts['other'], 'answer')} differed from the first one of the same picture")
    if code:
        faults.append(f"the process ended with {code}")
    lost = counted(counts["other"], "answer") if counts["other"] else "1 process" if code else "nothing"
    rounds = (
        f"{counts['photos']:,} photos, {counts['frames']:,} frames of a video that was written each time; "
    )
    return Result("predict", counts["photos"] + counts["frames"], taken, faults, lost, [rounds + note])


def work(model: str, seconds: str) -> None:
    """Predict until the time is over and print a JSON line for each round. The process of the area ``predict``."""
    from ehrpose.inferencers.inferencer import PoseInferencer
    from ehrpose.media.writer import VideoWriter

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    pictures = photos()
    with temporary_folder() as folder, PoseInferencer(model) as inferencer:
        (folder / "in").mkdir()
        for i, picture in enumerate(pictures):
            write_bytes(folder / "in" / f"{i}.png", cv2.imencode(".png", picture)[1].tobytes(), durable=False)
        clip = folder / "clip.mp4"
        with VideoWriter(clip, 10) as writer:
            for i in range(20):
                writer.write(np.roll(pictures[0], 8 * i, axis=1))
        first: dict[str, Any] = {}

        def round_of(source: Path, **options: Any) -> tuple[int, int]:
            found = [
                people for result in inferencer(str(source), **options) for people in result["predictions"]
            ]
            expected = first.setdefault(source.name, found)
            return len(found), sum(a != b for a, b in zip(found, expected)) + abs(len(found) - len(expected))

        print("{}", file=out, flush=True)
        until = time.monotonic() + float(seconds)
        while time.monotonic() < until:
            number, other = round_of(folder / "in")
            frames, more = round_of(clip, tracker=True, out_dir=str(folder / "out"))
            line = {"photos": number, "frames": frames, "other": other + more}
            print(json.dumps(line), file=out, flush=True)


def _soak_web(model: str, seconds: float) -> Result:
    whole = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in photos()]
    cut = whole[0][:200]
    statuses: Counter = Counter()
    faults: list[str] = []
    with server(model, []) as (port, pid):
        expected = [_people(ask(port, photo)) for photo in whole]

        def send(number: int) -> None:
            turn = number
            while time.monotonic() < until:
                turn += 1
                photo = cut if turn % 10 == 0 else whole[turn % len(whole)]
                answer = ask(port, photo)
                statuses[answer[0]] += 1
                wrong = _wrong(answer, None if photo is cut else expected[turn % len(whole)])
                if wrong:
                    faults.append(wrong)

        start = time.monotonic()
        until = start + seconds
        with Watch(pid) as watch, _threads(send, CLIENTS):
            pass
        taken = time.monotonic() - start
    grown, note = watch.judge()
    lost = counted(len(faults), "answer") if faults else "nothing"
    answers = ", ".join(f"{number:,} with {status}" for status, number in sorted(statuses.items(), key=str))
    note = f"{counted(CLIENTS, 'client')}; answers: {answers}; {note}"
    return Result("web", sum(statuses.values()), taken, faults + grown, lost, [note])


@contextmanager
def _threads(function: Any, number: int) -> Iterator[None]:
    threads = [threading.Thread(target=function, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def _people(answer: tuple[int | str, str | None, bytes]) -> Any:
    """Return the people of an answer.

    Raises:
        ValueError: It has none.
    """
    if answer[0] != 200:
        raise ValueError(f"the server does not answer a small photo: got {answer[0]}, see what it printed")
    return json.loads(answer[2])["people"]


def _wrong(answer: tuple[int | str, str | None, bytes], people: Any) -> str:
    """Return what is wrong with an answer; empty if nothing is.

    Args:
        answer: Status, Retry-After and body.
        people: What was found on the same photo first; None: the photo is cut off.
    """
    status, retry, body = answer
    if status == 503:
        return "" if retry else "503 without Retry-After"
    if people is None:
        return "" if status in (400, 415, 422) else f"a photo that is cut off was answered with {status}"
    if status != 200:
        return f"a photo was answered with {status}"
    return "" if json.loads(body)["people"] == people else "other people than before on the same photo"
