"""Faults of the disk and kills: the right call fails, and what is wrong afterwards is told."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ehrpose.analysis.reliability import crash
from ehrpose.analysis.reliability.crash import ERRORS, JOBS, KILL, KILL_LATER, Point, Reference, Tally, plan
from ehrpose.analysis.reliability.crash_job import Job, is_hidden
from ehrpose.analysis.reliability.results import Result, table
from ehrpose.analysis.reliability.warm import Ended, Warm, compile_faults

# Loading all libraries takes longer than the runs of these jobs.
LIGHT = (
    "cv2",
    "numpy",
    "mmengine.config",
    "ehrpose.datasets.converters.command",
    "ehrpose.datasets.download",
)
WRITER = """
import ctypes, os, sys
library, folder, at, error = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ctypes.CDLL(library).faults_arm(os.fsencode(folder), ctypes.c_long(at), error, 1)
with open(os.path.dirname(folder) + "/outside", "w") as file:
    file.write("x")
try:
    with open(folder + "/a", "wb") as file:
        file.write(b"0123456789")
        file.flush()
        os.fsync(file.fileno())
    os.rename(folder + "/a", folder + "/b")
except OSError as failed:
    os.write(1, failed.strerror.encode() + b"\\n")
try:
    os.mkdir(folder + "/c")
except OSError as failed:
    os.write(1, failed.strerror.encode() + b"\\n")
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    try:
        return compile_faults(tmp_path_factory.mktemp("faults"))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture
def write(library, tmp_path):
    """Run WRITER with a fault; return what it printed, after the calls, and its exit code."""

    def run(at, error):
        (tmp_path / "out").mkdir()
        command = [sys.executable, "-c", WRITER, str(library), str(tmp_path / "out"), str(at), str(error)]
        env = {**os.environ, "LD_PRELOAD": str(library)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return done.stdout.splitlines(), done.returncode

    return run


CALLS = ["open\ta", "write\ta", "fsync\ta", "rename\tb", "mkdir\tc"]


def test_calls_below_the_folder_are_counted(write):
    assert write(0, 0) == (CALLS, 0)


def test_an_io_error_comes_once_and_half_is_written(write, tmp_path):
    lines, code = write(2, errno.EIO)
    # Python writes all of it again when it closes the file.
    assert lines == ["open\ta", "write\ta", "write\ta", os.strerror(errno.EIO), "mkdir\tc"]
    assert code == 0
    assert (tmp_path / "out" / "a").read_bytes() == b"012340123456789"
    assert (tmp_path / "out" / "c").is_dir()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stays_full(write, tmp_path, error):
    lines, _ = write(2, error)
    assert lines.count(os.strerror(error)) == 2
    assert (tmp_path / "out" / "a").read_bytes() == b"01234"
    assert not (tmp_path / "out" / "c").exists()


def test_a_read_only_disk_takes_no_names_either(write, tmp_path):
    lines, _ = write(4, errno.EROFS)
    assert lines.count(os.strerror(errno.EROFS)) == 2
    assert os.listdir(tmp_path / "out") == ["a"]


def test_a_kill_leaves_half_of_a_write(write, tmp_path):
    assert write(2, 0) == (CALLS[:2], -9)
    assert (tmp_path / "out" / "a").read_bytes() == b"01234"


def test_all_kinds_of_calls_come_first_and_every_fifth_is_a_kill():
    calls = [("write", "run/20260101_000000.log")] * 30 + [("rename", "run/iter_2.pth"), ("open", "x.json")]
    points = plan(Reference(Path(), {}, {}, calls, 1.0), seed=0)[::-1]
    assert {point.at for point in points[:4]} >= {31, 32}
    assert len({point for point in points if point.fault in ERRORS}) == len(ERRORS) * len(calls)
    kills = [point.fault in (KILL, KILL_LATER) for point in points[:50]]
    assert sum(kills) == 10
    assert points == plan(Reference(Path(), {}, {}, calls, 1.0), seed=0)[::-1]
    assert points != plan(Reference(Path(), {}, {}, calls, 1.0), seed=1)[::-1]


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("error: {case}/a could not be written: No space left on device\n", ""),
        ("notes\nerror: {case}/a: No space left on device\nmore\n", ""),
        ("", "0 error lines"),
        ("error: {case}/a: No space left on device\nerror: again\n", "2 error lines"),
        ("error: a file: No space left on device\n", "without the file"),
        ("error: {case}/a could not be written\n", "without the reason"),
        ("Traceback (most recent call last):\nerror: {case}/a: No space left on device\n", "Traceback"),
    ],
)
def test_a_message_is_one_line_with_file_and_reason(stderr, message, tmp_path):
    job = Job(tmp_path, tmp_path / "case")
    (tmp_path / "case").mkdir()
    ended = Ended(1, True, 1.0, "", stderr.format(case=job.case), [("open", "a")])
    wrong, lost = crash.judge(job, Reference(tmp_path, {}, {}, [], 1.0), Point("ENOSPC", 1), ended)
    assert (message in wrong) if message else not wrong
    assert not lost


def test_files_that_are_damaged_missing_or_left_are_losses(tmp_path):
    job = Job(tmp_path, tmp_path)
    (tmp_path / "a").write_text("old")
    old = job.state()
    assert job.kept(old, {"a": "other"}) == ""
    (tmp_path / "a").write_text("ol")
    assert job.kept(old, {"a": "other"}) == "a is neither the old file nor the new one"
    (tmp_path / ".a.ff9d0f6c-1-2-0123456789abcdef.partial.txt").write_text("x")
    (tmp_path / "a").unlink()
    assert job.kept(old, {}) == "a is gone"
    assert job.complete({}).endswith(".partial.txt is left")
    assert is_hidden("x/.a.ff9d0f6c-1-2-0123456789abcdef.partial/b")


def test_kills_have_a_column_where_there_are_any():
    assert table([Result("photos", 3, 1.0)]).splitlines()[0] == "| area | cases | seconds | faults | lost |"
    rows = table([Result("train", 3, 1.0, kills=2)]).splitlines()
    assert rows[0] == "| area | cases | kills | seconds | faults | lost |"
    assert rows[2] == "| train | 3 | 2 | 1 | 0 | nothing |"


@pytest.mark.parametrize("name", ["labelme", "cvat", "download"])
def test_light_jobs_survive_each_kind_of_fault(library, tmp_path, name):
    points = 12
    with Warm(tmp_path, libraries=LIGHT) as warm:
        (tmp_path / "in").mkdir()
        job = JOBS[name](tmp_path / "in", tmp_path / "case")
        reference, tally = crash.undisturbed(job, warm), Tally()
        for point in plan(reference, seed=1)[: -1 - points : -1]:
            crash.disturb(job, reference, point, warm, tally)
    assert tally.faults == []
    assert tally.points + tally.kills == points


@pytest.mark.slow  # trains and exports
def test_all_jobs_survive_some_faults(library):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    pytest.importorskip("openvino", reason="openvino is in the extra 'deploy'")
    results = crash.crash(list(JOBS), 60, 600, seed=1)
    assert [result.area for result in results] == list(JOBS)
    assert [result.faults for result in results] == [[]] * len(JOBS)
    assert sum(result.cases + (result.kills or 0) for result in results) == 60
