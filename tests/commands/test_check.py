"""The command ``ehrpose check``."""

from __future__ import annotations

import json
import shutil

import pytest

from ehrpose.__main__ import main as ehrpose


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two photos, of which one is missing; one person, whose stated number of keypoints is wrong."""
    import cv2
    import numpy as np

    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").mkdir()
    name = "<b>&.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "train2017" / name), noise)
    images = [{"id": i, "file_name": n, "width": 100, "height": 80} for i, n in enumerate((name, "gone.jpg"))]
    person = {"id": 7, "image_id": 0, "category_id": 1, "bbox": [10, 10, 50, 50], "area": 9, "iscrowd": 0}
    person.update(keypoints=[20, 20, 2, 40, 30, 2], num_keypoints=3)
    category = {"id": 1, "name": "person", "keypoints": ["left_hand", "right_hand"], "skeleton": [[1, 2]]}
    content = {"images": images, "annotations": [person], "categories": [category]}
    (tmp_path / "annotations" / "my_train.json").write_text(json.dumps(content))
    return tmp_path


def code_of(*words):
    try:
        ehrpose(["check", *map(str, words)])
    except SystemExit as end:
        return end.code
    return 0


def test_reports_agree_and_errors_end_with_code_1(folder, capsys, tmp_path):
    assert code_of(folder, "--json", tmp_path / "a.json", "--html", tmp_path / "a.html", "--photos",
                   folder / "train2017") == 1  # fmt: skip
    told = capsys.readouterr().out
    assert "train: 2 photos, 1 person, 2 keypoints" in told
    assert "train gone.jpg: file not found" in told
    assert "person 7: num_keypoints is 3, but 2 keypoints are labelled" in told
    report = json.loads((tmp_path / "a.json").read_text())
    assert {record["kind"] for record in report["findings"]} == {"broken-photo", "keypoint-count"}
    page = (tmp_path / "a.html").read_text()
    assert "&lt;b&gt;&amp;.jpg" in page
    assert "<b>" not in page
    assert "data:image/jpeg;base64," in page


def test_fail_on_and_known(folder, tmp_path, capsys):
    photos = ("--photos", folder / "train2017")
    assert code_of(folder, *photos, "--fail-on", "box-keypoints", "--json", tmp_path / "old.json") == 0
    assert code_of(folder, *photos, "--fail-on", "broken-photo") == 1
    assert code_of(folder, *photos, "--known", tmp_path / "old.json") == 0
    assert "left out, as" in capsys.readouterr().out
    assert code_of(folder, *photos, "--fail-on", "nothing") == 2
    assert "unknown kind 'nothing'" in capsys.readouterr().err


def test_photos_are_found_or_named(folder, capsys):
    assert code_of(folder) == 2
    assert "none of its first photos is in" in capsys.readouterr().err
    shutil.move(folder / "train2017", folder / "images")
    assert code_of(folder, "--no-photos", "--fail-on", "broken-photo") == 0
    assert code_of(folder / "annotations" / "my_train.json") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "is not valid JSON"), ("[]", "expected a JSON object"), ("{}", "one category")],
)
def test_unreadable_labels_are_one_line(folder, capsys, text, expected):
    (folder / "annotations" / "my_train.json").write_text(text)
    assert code_of(folder) == 2
    told = capsys.readouterr().err
    assert expected in told
    assert told.count("\n") == 1


def test_missing_data_is_one_line(tmp_path, capsys):
    (tmp_path / "annotations").mkdir()
    assert code_of(tmp_path) == code_of(tmp_path / "none") == 2
    assert "annotations/*train*.json" in capsys.readouterr().err
