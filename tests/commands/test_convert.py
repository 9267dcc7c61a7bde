"""``ehrpose convert``: formats are found, losses printed, and the new folder is whole or absent."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from ehrpose.__main__ import main
from ehrpose.commands.convert import FORMATS, READ_ONLY
from ehrpose.labels import LABEL_FORMATS, find_format

sys.path.insert(0, str(Path(__file__).parents[1] / "labels"))
from label_cases import label_set, person, write_photo

POINTS = [(4, 5, 2), (6, 7, 1), (0, 0, 0), (8, 9, 2), (1, 1, 2)]


@pytest.fixture
def coco(tmp_path, five_keypoints) -> Path:
    one = person(POINTS, box=[1, 2, 20, 30], area=77.0, id=5)
    labels = label_set(tmp_path / "photos", five_keypoints, [], train=[one], val=[one])
    find_format("coco").write(labels, tmp_path / "coco")
    return tmp_path / "coco"


def told(capsys, *words, code=2) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(["convert", *map(str, words)])
    assert exit_.value.code == code
    return capsys.readouterr().err


def test_the_options_list_the_registrys_formats():
    assert set(FORMATS) == set(LABEL_FORMATS.module_dict)
    assert {name for name in FORMATS if not find_format(name).can_write} == set(READ_ONLY)


def test_a_zip_is_converted_and_what_is_lost_is_printed(coco, tmp_path, capsys):
    file = shutil.make_archive(str(tmp_path / "export"), "zip", coco)
    main(["convert", file, str(tmp_path / "yolo"), "--to", "yolo"])
    printed = capsys.readouterr().out
    assert "format: coco" in printed
    assert "train: 1 photo, 1 person" in printed
    assert "val: 1 photo, 1 person" in printed
    assert "yolo cannot hold: areas: 2" in printed
    assert "yolo cannot hold: ids: 2" in printed
    assert (tmp_path / "yolo/images/val/val.png").is_file()
    assert (tmp_path / "yolo/keypoints.py").is_file()


def test_splits_renames_and_links(coco, tmp_path, capsys):
    keypoints = (coco / "keypoints.py").read_text().replace("nose", "snout")
    (tmp_path / "k.py").write_text(keypoints)
    words = ["convert", coco, tmp_path / "out", "--to", "coco", "--keypoints", tmp_path / "k.py"]
    main([*map(str, words), "--rename", "nose=snout", "--symlink", "--val-fraction", "0"])
    content = json.loads((tmp_path / "out/annotations/person_keypoints_train2017.json").read_text())
    assert content["categories"][0]["keypoints"][0] == "snout"
    assert len(content["images"]) == 2
    assert os.path.islink(tmp_path / "out/train2017/train.png")
    assert not (tmp_path / "out/val2017").exists()
    assert "ids (not distinct whole numbers above 0)" in capsys.readouterr().out  # both splits had id 5


def test_mistakes_are_one_line_and_nothing_is_left(coco, tmp_path, capsys):
    before = sorted(path.name for path in tmp_path.iterdir())
    assert "a is not LABEL=NAME" not in told(capsys, coco, tmp_path / "o", "--to", "yolo", "--rename", "a")
    assert "file or folder not found" in told(capsys, tmp_path / "no", tmp_path / "o", "--to", "yolo")
    error = told(capsys, tmp_path / "photos", tmp_path / "o", "--to", "yolo")
    assert "is none of the label formats. coco: expected" in error
    assert len(error.splitlines()) == 1
    assert "already exists and is not empty" in told(capsys, coco, coco, "--to", "yolo")
    assert "expected kpt_shape" not in told(capsys, coco, tmp_path / "o", "--to", "coco", "--from", "cvat")
    (coco / "train2017/train.png").write_bytes(b"no photo")
    assert "train.png" in told(capsys, coco, tmp_path / "o", "--to", "yolo")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_bad_photos_are_skipped_and_named(coco, tmp_path, capsys):
    (coco / "val2017/val.png").unlink()
    assert "photo 'val.png' not found" in told(capsys, coco, tmp_path / "o", "--to", "cvat")
    main(["convert", str(coco), str(tmp_path / "o"), "--to", "cvat", "--skip-bad"])
    printed = capsys.readouterr().out
    assert "left out: val.png: " in printed
    assert "val: 0 photos, 0 people" in printed


def test_pre_labels_from_predictions(tmp_path, capsys):
    write_photo(tmp_path / "photos/a.png")
    people = [
        {"keypoints": [[5, 5]] * 17, "keypoint_scores": [0.9] * 17, "bbox": [[1, 1, 9, 9]], "bbox_score": 0.7}
    ]
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs/a.json").write_text(json.dumps(people))
    words = [tmp_path / "outputs", tmp_path / "out", "--to", "label-studio", "--photos", tmp_path / "photos"]
    main(["convert", *map(str, words)])
    printed = capsys.readouterr().out
    assert "format: ehrpose" in printed
    assert "17 keypoints without names are taken as COCO's; --keypoints gives other ones" in printed
    assert "label-studio cannot hold: keypoint scores: 17" in printed
