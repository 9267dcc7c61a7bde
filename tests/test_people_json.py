from __future__ import annotations

import errno
import json
import os

import pytest

from ehrpose.file_sets import FileGroup
from ehrpose.files import WriteError
from ehrpose.growing_file import FrameFile
from ehrpose.people_json import write_predictions

FRAMES = [{"frame_id": number, "instances": []} for number in range(3)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_frames_are_one_list_once_the_file_is_closed(tmp_path):
    file = FrameFile(tmp_path / "out" / "clip.json")
    for frame in FRAMES:
        file.add(frame)
        assert not file.path.exists()
    assert file.close()
    assert json.loads(file.path.read_text()) == FRAMES
    assert names(tmp_path / "out") == ["clip.json"]
    assert not file.close()


def test_no_frames_no_file(tmp_path):
    file = FrameFile(tmp_path / "out" / "clip.json")
    assert not file.close()
    file.abort()
    assert names(tmp_path) == []


def test_what_is_given_up_leaves_the_old_file(tmp_path):
    (tmp_path / "clip.json").write_text("old")
    file = FrameFile(tmp_path / "clip.json")
    file.add(FRAMES[0])
    file.abort()
    assert ((tmp_path / "clip.json").read_text(), names(tmp_path)) == ("old", ["clip.json"])


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_at_the_end_leaves_the_old_file(tmp_path, monkeypatch, place):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "clip.json").write_text("old")
    file = FrameFile(tmp_path / "clip.json")
    file.add(FRAMES[0])
    monkeypatch.setattr(os, place, fail)
    with pytest.raises(WriteError, match=r"clip\.json could not be written: No space left"):
        file.close()
    file.abort()
    assert ((tmp_path / "clip.json").read_text(), names(tmp_path)) == ("old", ["clip.json"])


def test_a_folder_in_its_place_is_said_at_once(tmp_path):
    with pytest.raises(IsADirectoryError):
        FrameFile(tmp_path)


def test_files_of_photos_are_waited_for_together(tmp_path):
    people = [{"bbox_score": 0.5}]
    with FileGroup() as group:
        write_predictions(people, tmp_path / "a.json", group)
        assert not (tmp_path / "a.json").exists()
    write_predictions(people, tmp_path / "b.json")
    for name in ("a.json", "b.json"):
        assert json.loads((tmp_path / name).read_text()) == people
