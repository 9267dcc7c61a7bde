"""Partial files: unpredictable names, created exclusively, and removed by the next run if theirs was killed."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ehrpose import files
from ehrpose.datasets.converters.coco_folder import new_folder
from ehrpose.files import MAX_PART_AGE, PartialFile, partial_path, remove_stale, temporary_folder, write_text

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows cannot tell which processes live")

DIES = """
import os, signal, sys
from pathlib import Path
from ehrpose.files import PartialFile, partial_path, temporary_folder
folder = Path(sys.argv[1])
file = PartialFile(folder / "end2end.onnx").create()
file.with_name(file.name + ".json").write_text("{}")
inside = partial_path(folder / "out") / "train2017"
inside.mkdir(parents=True)
(inside / "1.jpg").write_text("x")
with temporary_folder() as temporary:
    (temporary / "unpacked.jpg").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def nothing_swept(monkeypatch):
    monkeypatch.setattr(files, "_SWEPT", set())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def named(path, machine=None, process=None, start=None):
    """Return a part's name with another owner."""
    own = re.fullmatch(r"(\..*\.)([0-9a-f]{8})-(\d+)-(\d+)(-.*)", partial_path(path).name)
    before, *owner, after = own.groups()
    owner = [given if given is not None else found for given, found in zip((machine, process, start), owner)]
    return path.with_name(f"{before}{'-'.join(map(str, owner))}{after}")


def dead():
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


@POSIX
def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, root, monkeypatch):
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    out.mkdir()
    temporary.mkdir()
    env = {**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(temporary)}
    killed = subprocess.run([sys.executable, "-c", DIES, str(out)], env=env, check=False, timeout=120)
    assert killed.returncode == -9
    assert len(names(out)) == 3
    assert len(names(temporary)) == 1
    write_text(out / "people.json", "[]")
    assert names(out) == ["people.json"]
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with temporary_folder() as folder:
        assert names(temporary) == [folder.name]
    assert names(temporary) == []


@POSIX
def test_a_converter_removes_the_folder_of_a_killed_one(tmp_path):
    left = named(tmp_path / "coco", process=dead())
    (left / "train2017").mkdir(parents=True)
    with new_folder(tmp_path / "coco") as folder:
        (folder / "a").write_text("x")
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == ["coco"]


def _waits(folder, ready, end):
    file = PartialFile(Path(folder) / "video.mp4")
    file.create().write_text("live")
    ready.set()
    end.wait(60)
    file.commit()


@POSIX
def test_the_parts_of_living_processes_stay(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=_waits, args=(str(tmp_path), ready, end))
    process.start()
    assert ready.wait(60)
    own = PartialFile(tmp_path / "own.txt").create()
    for part in (own, *tmp_path.glob(".video.*")):
        age(part, 10 * MAX_PART_AGE)
    remove_stale(tmp_path)
    assert len(names(tmp_path)) == 2
    end.set()
    process.join(60)
    assert (tmp_path / "video.mp4").read_text() == "live"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_process_number_that_is_used_again_is_another_process(tmp_path):
    again = named(tmp_path / "a.txt", start=7)
    again.touch()
    remove_stale(tmp_path)
    assert names(tmp_path) == []


def test_parts_of_other_machines_stay_until_they_are_old(tmp_path):
    new, old = (named(tmp_path / name, machine="0" * 8, process=dead()) for name in ("new.txt", "old.txt"))
    busy, idle = (named(tmp_path / name, machine="0" * 8) for name in ("busy", "idle"))
    for folder in (busy, idle):
        (folder / "inside").mkdir(parents=True)
        (folder / "inside/file").touch()
    new.touch()
    old.touch()
    age(idle / "inside/file", 2 * MAX_PART_AGE)
    for path in (old, busy, idle):
        age(path, 2 * MAX_PART_AGE)
    remove_stale(tmp_path)
    assert names(tmp_path) == sorted([new.name, busy.name])


@POSIX
def test_only_names_of_parts_are_removed_and_links_are_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "photo.jpg").write_text("x")
    link = named(tmp_path / "out", process=dead())
    link.symlink_to(kept, target_is_directory=True)
    others = [
        ".a.partial.txt",
        ".a.12-34.partial.txt",
        "a.partial",
        f"x{link.name}",
        f"{link.name}x",
        ".hidden",
    ]
    for name in others:
        (tmp_path / name).touch()
    remove_stale(tmp_path)
    assert names(tmp_path) == sorted([*others, "kept"])
    assert names(kept) == ["photo.jpg"]


def test_names_are_unpredictable(tmp_path):
    tokens = {
        re.search(r"-([0-9a-f]{16})\.partial\.txt$", partial_path(tmp_path / "a.txt").name)[1]
        for _ in range(99)
    }
    assert len(tokens) == 99
    assert len(partial_path(tmp_path / ("ü" * 120 + ".json")).name.encode()) < 255


@POSIX
@pytest.mark.parametrize("leads_to", ["marker", "nothing"])
def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path, monkeypatch, leads_to):
    marker = tmp_path / "marker"
    marker.write_text("of others")
    guessed = tmp_path / ".a.guessed.partial.txt"
    guessed.symlink_to(tmp_path / leads_to)
    monkeypatch.setattr(files, "partial_path", lambda path: guessed)
    with pytest.raises(OSError, match="could not be written: File exists"):
        write_text(tmp_path / "a.txt", "x")
    assert marker.read_text() == "of others"
    assert not (tmp_path / "nothing").exists()
    assert not (tmp_path / "a.txt").exists()


@POSIX
def test_temporary_folders_are_private(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "a").touch()
    assert names(tmp_path) == []
