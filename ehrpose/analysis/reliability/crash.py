"""Faults of the disk and kills at every call of training, prediction, export, conversion and download.

Each command runs once undisturbed, which counts its calls that change files. Then it runs again for each chosen call:
that one fails, or the process is killed there. What was there before must be left, with one line that says why; the
next run must succeed, with the same output as the undisturbed one and without remains.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ehrpose.analysis.reliability import crash_data, crash_models
from ehrpose.analysis.reliability.crash_job import Job, visible
from ehrpose.analysis.reliability.results import Result
from ehrpose.analysis.reliability.warm import Ended, Warm
from ehrpose.files import temporary_folder
from ehrpose.progress import Progress

JOBS: dict[str, Callable[[Path, Path], Job]] = {
    "train": crash_models.Train,
    "resume": crash_models.Resume,
    "predict-photos": crash_models.PredictPhotos,
    "predict-video": crash_models.PredictVideo,
    "deploy-onnx": crash_models.Deploy,
    "deploy-openvino": crash_models.DeployOpenvino,
    "labelme": crash_data.Labelme,
    "cvat": crash_data.Cvat,
    "synthetic": crash_data.Synthetic,
    "convert": crash_data.Convert,
    "convert-safetensors": crash_data.ConvertSafetensors,
    "download": crash_data.Download,
}
ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT")
# A kill at a call, after half of a write; and one at some time.
KILL, KILL_LATER = "kill", "kill by time"
_NOT_ONE_LINE = ("Traceback", "Exception ignored", "Logging error")


class Point(NamedTuple):
    """A case: a fault and the call that it meets, from 1; for a kill by time, thousandths of the duration."""

    fault: str
    at: int


@dataclass
class Reference:
    """An undisturbed run of a job: the state before and after it, its calls and its duration in seconds."""

    base: Path
    old: dict[str, str]
    new: dict[str, str]
    calls: list[tuple[str, str]]
    seconds: float


@dataclass
class Tally:
    """What became of a job's points."""

    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    kinds: Counter = field(default_factory=Counter)
    endings: Counter = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def points(self) -> int:
        """Number of faults of the disk."""
        return sum(number for kind, number in self.kinds.items() if kind in ERRORS)

    @property
    def kills(self) -> int:
        """Number of kills."""
        return sum(number for kind, number in self.kinds.items() if kind not in ERRORS)


def crash(jobs: Sequence[str], points: int, seconds: float, seed: int = 0) -> list[Result]:
    """Disturb jobs, in turns, until the points or the time are used up.

    Args:
        jobs: Names in JOBS.
        points: Most points of all jobs together, with a fifth of kills.
        seconds: Most time of all jobs together, after their undisturbed runs.
        seed: Seed of the order of the calls.

    Raises:
        ValueError: There is no C compiler, this is not Linux, or a job does not work undisturbed.
    """
    tallies = {name: Tally() for name in jobs}
    with temporary_folder() as folder, Warm(folder) as warm, Progress(points, "crash") as progress:
        ready = {}
        for name in jobs:
            began = time.monotonic()
            inputs = folder / f"{name}.in"
            inputs.mkdir()
            job = JOBS[name](inputs, folder / f"{name}.case")
            ready[name] = job, (reference := undisturbed(job, warm)), plan(reference, seed)
            tallies[name].seconds += time.monotonic() - began
        until, done = time.monotonic() + seconds, 0
        while ready and done < points and time.monotonic() < until:
            # The job with the fewest points so far, so that all get about as many.
            name = min(ready, key=lambda name: tallies[name].points + tallies[name].kills)
            job, reference, left = ready[name]
            if not left:
                del ready[name]
                continue
            began = time.monotonic()
            disturb(job, reference, left.pop(), warm, tallies[name])
            tallies[name].seconds += time.monotonic() - began
            done += 1
            progress.step()
    return [result_of(name, tally) for name, tally in tallies.items()]


def undisturbed(job: Job, warm: Warm) -> Reference:
    """Make what the job reads and had before, then run it.

    Raises:
        ValueError: It fails.
    """
    job.make_inputs(warm)
    base = job.case.with_suffix(".base")
    fresh(job.case, None)
    words = job.old()
    if words is not None:
        _checked(warm.run(job.run(words)), words)
        job.arrange()
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(job.case, base, symlinks=True)
    old = job.state()
    first = job.words() if words is None else job.again()
    ended = _checked(warm.run(job.run(first)), first)
    return Reference(base, old, job.state(), ended.calls, ended.seconds)


def _checked(ended: Ended, words: list[str]) -> Ended:
    if ended.code:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"{' '.join(words[:3])} does not work undisturbed: {last}")
    return ended


def fresh(case: Path, base: Path | None) -> None:
    """Put the state before a run in place; None: an empty folder."""
    shutil.rmtree(case, ignore_errors=True)
    if base is None:
        case.mkdir(parents=True)
    else:
        shutil.copytree(base, case, symlinks=True)


def plan(reference: Reference, seed: int) -> list[Point]:
    """Return the points of a job, the first one last.

    Calls of one kind, such as all lines of a log, take turns with those of the other kinds, so that few points meet all
    kinds; every fifth point is a kill.
    """
    rng = np.random.default_rng(seed)
    groups = defaultdict(list)
    for number, (name, file) in enumerate(reference.calls, 1):
        groups[name, kind_of(file)].append(number)
    turns: list[Point] = []
    waiting = [list(rng.permutation(numbers)) for numbers in groups.values()]
    faults = [[*ERRORS] for _ in reference.calls]
    for each in faults:
        rng.shuffle(each)
    order: list[int] = []
    while any(waiting):
        for numbers in waiting:
            if numbers:
                order.append(int(numbers.pop()))
    for turn in range(len(ERRORS)):
        turns += [Point(faults[at - 1][turn], at) for at in order]
    kills = [Point(KILL, int(at)) for at in order]
    later = [Point(KILL_LATER, int(part)) for part in rng.integers(1, 1000, len(order))]
    mixed: list[Point] = []
    for number, point in enumerate(turns):
        mixed.append(point)
        if number % 4 == 3 and kills:
            mixed.append(kills.pop(0) if number % 12 != 11 else later.pop(0))
    return mixed[::-1]


def kind_of(file: str) -> str:
    """Return a file's name without what differs between runs and files of one kind."""
    for differs in (r"\.[0-9a-f]{8}-\d+-\d+-[0-9a-f]{16}", r"\btmp[a-z0-9_]{8}\b", r"^tmp/[a-z0-9_]{8}$"):
        file = re.sub(differs, "", file)
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", file)


def disturb(job: Job, reference: Reference, point: Point, warm: Warm, tally: Tally) -> None:
    """Run a job with a fault, then again without, and add what is wrong to the tally."""
    fresh(job.case, reference.base)
    words = job.words() if job.old() is None else job.again()
    if point.fault == KILL_LATER:
        faults = {"kill_after": reference.seconds * point.at / 1000}
    else:
        faults = {"at": point.at, "error": getattr(errno, point.fault, 0)}
    ended = warm.run(job.run(words, **faults))
    tally.kinds[point.fault] += 1
    wrong, lost = judge(job, reference, point, ended)
    tally.endings[ending_of(point, ended)] += 1
    is_done = job.once and visible(job.state()) == reference.new  # killed after its output was complete
    if ended.code and not wrong and not is_done:
        following = warm.run(job.run(job.again()))
        if following.code:
            last = (following.stderr.strip().splitlines() or ["no message"])[-1]
            wrong = lost = f"the next run ended with {following.code}: {last}"
        else:
            wrong = lost = job.complete(reference.new)
            wrong = wrong and f"after the next run, {wrong}"
    if wrong:
        at = min(max(point.at, 1), len(ended.calls)) - 1
        call = " of ".join(ended.calls[at]) if ended.calls else "no call"
        tally.faults.append(f"{point.fault} at {point.at} ({call}): {wrong}"[:600])
        print(f"{job.case.stem}, fault: {tally.faults[-1]}", file=sys.stderr)
    if lost:
        tally.lost.append(lost)


def judge(job: Job, reference: Reference, point: Point, ended: Ended) -> tuple[str, str]:
    """Return what is wrong after a disturbed run, and what of it is a loss."""
    noise = next((word for word in _NOT_ONE_LINE if word in ended.stderr), None)
    if noise is not None:
        line = next((line for line in reversed(ended.stderr.splitlines()) if line.strip()), "")
        wrong = f"exit code {ended.code} with {noise!r} on stderr: {line}"
    elif ended.code == 0 or (ended.code == -9 and point.fault in (KILL, KILL_LATER)):
        wrong = ""
    elif ended.code != 1:
        wrong = f"exit code {ended.code}: {ended.stderr[-200:]!r}"
    else:
        wrong = wrong_message(job, point, ended.stderr)
    try:
        lost = (job.kept if ended.code else job.complete)(*_states(job, reference, ended))
    except Exception as error:
        lost = f"{type(error).__name__}: {error}"
    return wrong or lost, lost


def _states(job: Job, reference: Reference, ended: Ended) -> tuple:
    if ended.code:
        return reference.old, reference.new
    # A disk that became read-only at the end keeps partial files until the next run.
    found = job.state()
    return ({**reference.new, **{name: found[name] for name in found.keys() - visible(found).keys()}},)


def wrong_message(job: Job, point: Point, stderr: str) -> str:
    """Say what is wrong with the message of a run that failed: expected is one line with the file and the reason."""
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    if len(errors) != 1:
        return f"{len(errors)} error lines: {stderr[-200:]!r}"
    if str(job.case) not in errors[0]:
        return f"a message without the file: {errors[0]}"
    reason = os.strerror(getattr(errno, point.fault, 0))
    if reason not in errors[0]:
        return f"a message without the reason: {errors[0]}"
    return ""


def ending_of(point: Point, ended: Ended) -> str:
    """Return how a disturbed run ended, for the notes."""
    if ended.code == 0:
        return "completed nevertheless" if ended.hit else "ended before the fault"
    return "killed" if ended.code < 0 else "ended with one line"


def result_of(name: str, tally: Tally) -> Result:
    """Return a row of the table."""
    kinds = ", ".join(
        f"{tally.kinds[kind]} {kind}" for kind in (*ERRORS, KILL, KILL_LATER) if tally.kinds[kind]
    )
    endings = ", ".join(f"{number} {ending}" for ending, number in sorted(tally.endings.items()))
    lost = f"{len(tally.lost)} times" if tally.lost else "nothing"
    notes = [f"{kinds}; {endings}"] if kinds else []
    return Result(name, tally.points, tally.seconds, tally.faults, lost, notes, tally.kills)
