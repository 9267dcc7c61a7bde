"""What is written is on disk before it gets its name, and so is the name before the writer goes on.

No file system that loses data is at hand everywhere, so the calls are recorded in their order.
"""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
from faults import ERRORS, Faults

from ehrpose import file_sets
from ehrpose.archives import unpack
from ehrpose.datasets.converters.coco_folder import new_folder
from ehrpose.file_sets import FileGroup, written_together
from ehrpose.files import PartialFile, WriteError, write_text, written_beside
from ehrpose.growing_file import FrameFile
from ehrpose.people_json import write_predictions
from ehrpose.visualization.drawing import write_picture


def one_file(folder):
    write_text(folder / "a.txt", "x")


def beside(folder):
    with written_beside(folder / "a.bin") as partial:
        partial.write_bytes(b"x")


def long_open(folder):
    file = PartialFile(folder / "a.bin")
    file.create().write_bytes(b"x")
    file.commit()


def frames(folder):
    file = FrameFile(folder / "clip.json")
    file.add({"frame_id": 0})
    file.close()


def photos(folder):
    with FileGroup() as group:
        for number in range(150):
            write_predictions([{"bbox_score": 0.5}], folder / f"{number}.json", group)
        write_picture(folder / "a.png", np.zeros((4, 4, 3), np.uint8), group=group)


def one_photo(folder):
    write_predictions([], folder / "a.json")
    write_picture(folder / "a.png", np.zeros((4, 4, 3), np.uint8))


def network(folder):
    with written_together(folder / "a.xml") as new:
        for name in ("a.xml", "a.bin", "a.xml.json"):
            (new / name).write_bytes(b"x")


def data_set(folder):
    with new_folder(folder / "out") as new:
        (new / "train2017").mkdir()
        for number in range(20):
            (new / "train2017" / f"{number}.jpg").write_bytes(b"x")
        (new / "labels.json").write_text("{}")


def archive(folder):
    with zipfile.ZipFile(folder.parent / "a.zip", "w") as packed:
        for number in range(5):
            packed.writestr(f"deeper/{number}.jpg", b"x")
    unpack(folder.parent / "a.zip", folder)


WRITERS = [one_file, beside, long_open, frames, photos, one_photo, network, data_set, archive]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_content_is_on_disk_before_its_name_and_the_name_before_the_end(tmp_path, monkeypatch, write):
    folder = tmp_path / "out"
    folder.mkdir()
    synced, unnamed = set(), set()
    with Faults(tmp_path) as recorder:
        recorded = os.replace

        def replace(source, target):
            inside = [os.path.join(top, name) for top, _, names in os.walk(source) for name in names]
            files = {os.path.realpath(file) for file in inside or [source]}
            done = {os.path.realpath(file) for name, file in recorder.calls if name == "fsync"} | synced
            assert not os.path.isdir(source) or os.path.realpath(source) in done
            assert files <= done, f"renamed before it was on disk: {files - done}"
            synced.update(os.path.realpath(file).replace(str(source), str(target)) for file in files)
            recorded(source, target)
            unnamed.add((len(recorder.calls), os.path.dirname(os.path.realpath(target))))

        monkeypatch.setattr(os, "replace", replace)
        write(folder)
        monkeypatch.undo()
    assert unnamed
    for at, parent in unnamed:
        later = recorder.calls[at:]
        assert ("fsync", parent) in [(name, os.path.realpath(file)) for name, file in later], parent


def test_a_group_appears_when_it_is_full_or_after_a_second(tmp_path, monkeypatch):
    group = FileGroup()
    for number in range(file_sets._GROUP):
        assert not list(tmp_path.glob("[0-9]*"))
        group.write(tmp_path / f"{number}.txt", b"x")
    assert len(list(tmp_path.glob("[0-9]*"))) == len(os.listdir(tmp_path)) == file_sets._GROUP
    group.write(tmp_path / "a.txt", b"x")
    assert not (tmp_path / "a.txt").exists()
    monkeypatch.setattr(file_sets, "_MAX_WAIT", -1.0)
    group.write(tmp_path / "b.txt", b"x")
    assert (tmp_path / "a.txt").exists()


def test_a_group_keeps_what_was_written_before_an_error(tmp_path):
    def write():
        with FileGroup() as group:
            group.write(tmp_path / "a.txt", b"x")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert os.listdir(tmp_path) == ["a.txt"]


def message_of(write, folder):
    """Return the message of the WriteError that ends a function, if one does."""
    try:
        write(folder)
    except WriteError as failed:
        return str(failed)
    return None


@pytest.mark.parametrize("error", ERRORS)
def test_a_disk_that_fails_leaves_whole_files_of_a_group(tmp_path, error):
    def write(folder):
        with FileGroup() as group:
            for name in "abc":
                group.write(folder / f"{name}.txt", b"new")

    (tmp_path / "count").mkdir()
    with Faults(tmp_path) as counted:
        write(tmp_path / "count")
    for at in range(1, 1 + len(counted.calls)):
        folder = tmp_path / str(at)
        folder.mkdir()
        (folder / "a.txt").write_bytes(b"old")
        with Faults(folder, at, error):
            told = message_of(write, folder)
        assert told is None or ".txt could not be written: " in told
        names = [name for name in os.listdir(folder) if error != "EROFS" or ".partial" not in name]
        assert set(names) <= {"a.txt", "b.txt", "c.txt"}
        assert {(folder / name).read_bytes() for name in names} <= {b"old", b"new"}
