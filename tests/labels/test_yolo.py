"""YOLO-pose as ultralytics and the tools that write it have it."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from label_cases import HEIGHT, WIDTH, label_set, person, write_photo, write_turned_photo

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels import find_format, read_labels

NAMES = ["nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"]


def write_yolo(folder, lines, shape=(5, 3), photo="images/train/a.png", **content):
    write_photo(folder / photo)
    labels = folder / photo.replace("images/", "labels/").replace(".png", ".txt")
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text("\n".join(lines))
    data = {"train": "images/train", "val": "images/train", "names": ["person"], "kpt_shape": list(shape)}
    (folder / "data.yaml").write_text(yaml.safe_dump({**data, "kpt_names": {0: NAMES}, **content}))
    return folder


def line(points, box="0.5 0.5 0.5 0.5", number=0):
    return f"{number} {box} " + " ".join(f"{v:g}" for point in points for v in point)


def test_shares_of_the_photo_become_pixels(tmp_path):
    folder = write_yolo(tmp_path, [line([(0.25, 0.5, 2), (0, 0, 0), (1, 1, 1), (0, 0, 0), (0, 0, 0)])])
    labels = read_labels(folder)
    (one,) = labels.people()
    assert one.keypoints.tolist()[:3] == [[16, 24, 2], [0, 0, 0], [64, 48, 1]]
    assert list(one.box) == [16, 12, 32, 24]
    assert labels.meta.names == tuple(NAMES)
    assert list(labels.splits) == ["train"]  # val names the same photos
    assert labels.notes == []


def test_two_values_say_what_zeros_and_negatives_are_taken_for(tmp_path):
    folder = write_yolo(tmp_path, [line([(0.25, 0.5), (0, 0), (-0.005, -0.005), (0, 0.5), (0, 0)])], (5, 2))
    labels = read_labels(folder)
    (one,) = labels.people()
    assert one.keypoints[:, 2].tolist() == [2, 0, 0, 2, 0]
    first, second = labels.notes
    assert "2 keypoints at 0 0 taken as not labelled, though ultralytics reads them as visible" in first
    assert "1 keypoint below 0 taken as not labelled" in second


def test_three_values_are_written_and_nothing_that_drops_the_photo(tmp_path, five_keypoints):
    points = [(10, 10, 2), (70, 10, 2), (10, 60, 1), (-3, 5, 2), (0, 0, 0)]
    labels = label_set(tmp_path / "photos", five_keypoints, [person(points, box=[-5, -5, 80, 30])])
    find_format("yolo").write(labels, tmp_path / "out")
    assert {"keypoints outside their photo: 3", "parts of boxes outside their photo: 1"} <= set(labels.losses)
    values = np.array((tmp_path / "out/labels/train/train.txt").read_text().split(), float)
    assert len(values) == 5 + 15
    assert values.min() >= 0
    assert values[[*range(1, 5), *range(5, 20, 3), *range(6, 20, 3)]].max() <= 1
    assert values[7::3].tolist() == [2, 0, 0, 0, 0]
    data = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert data["kpt_shape"] == [5, 3]
    assert data["flip_idx"] == [0, 2, 1, 4, 3]
    assert (data["train"], data["val"], data["names"]) == ("images/train", "images/train", {0: "person"})


def test_photos_that_ultralytics_drops_are_read_and_named(tmp_path):
    folder = write_yolo(tmp_path, [line([(0.2, 1.05, 2), *[(0.2, 0.2, 2)] * 4])])
    labels = read_labels(folder)
    assert len(list(labels.people())) == 1
    assert "1 label file with numbers beyond the photo: ultralytics drops these photos" in labels.notes[0]


def test_an_identity_flip_idx_is_not_believed_where_names_have_sides(tmp_path):
    folder = write_yolo(tmp_path, [], flip_idx=[0, 1, 2, 3, 4])
    assert read_labels(folder).meta.flip_indices == (0, 2, 1, 4, 3)


def test_roboflows_places_lists_and_classes(tmp_path):
    good = line([(0.25, 0.5, 2)] * 5, number=1)
    folder = write_yolo(tmp_path / "a", [good, line([(0.1, 0.1, 2)] * 5, number=0)], names=["dog", "person"],
                        photo="train/images/a.png", train="../train/images", val="../valid/images")  # fmt: skip
    write_photo(folder / "valid/images/b.png")
    labels = read_labels(folder)
    assert {split: [p.name for p in photos] for split, photos in labels.splits.items()} == {
        "train": ["a.png"],
        "val": ["b.png"],
    }
    assert len(list(labels.people())) == 1
    assert "1 line of other classes left out" in labels.notes[0]
    listed = write_yolo(tmp_path / "b", [line([(0.25, 0.5, 2)] * 5)], train="train.txt", val=None)
    (listed / "train.txt").write_text("data/images/train/a.png\n")
    assert [photo.name for photo in read_labels(listed).photos()] == ["a.png"]


def test_shares_are_of_the_upright_photo(tmp_path):
    folder = write_yolo(tmp_path, [line([(0.5, 0.5, 2)] * 5)])
    write_turned_photo(tmp_path / "images/train/a.png")
    (photo,) = read_labels(folder).photos()
    assert photo.size == (20, 40)
    assert photo.people[0].keypoints[0].tolist() == [10, 20, 2]


@pytest.mark.parametrize(
    ("change", "lines", "told"),
    [
        ({"kpt_shape": [5]}, [], r"data\.yaml: expected kpt_shape \[K, 2\] or \[K, 3\], got \[5\]"),
        ({"kpt_names": None}, [], r"data\.yaml: the file has no kpt_names"),
        ({"kpt_names": {0: ["a"]}}, [], r"expected 5 distinct names as kpt_names"),
        ({"names": ["cat", "dog"]}, [], r"several classes, \['cat', 'dog'\]; choose one with `label`"),
        ({"flip_idx": [1, 2, 0, 3, 4]}, [], r"expected pairs that change places as flip_idx"),
        ({"train": "nowhere", "val": None}, [], r"expected a folder, list or photo at nowhere"),
        ({}, ["0 0.5 0.5"], r"a\.txt, line 1: expected 20 numbers \(class, box, 5 keypoints of 3\), got 3"),
        ({}, [line([(0.5, 0.5, 3)] * 5)], r"a\.txt, line 1: expected a visibility of 0, 1 or 2, got 3"),
    ],
)
def test_wrong_files_are_named_with_what_was_expected(tmp_path, change, lines, told):
    folder = write_yolo(tmp_path, lines, **change)
    with pytest.raises(ValueError, match=told) as caught:
        read_labels(folder, format="yolo")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_without_names_the_skeleton_says_the_order(tmp_path, five_keypoints):
    folder = write_yolo(tmp_path, [line([(0.25, 0.5, 2)] * 5)], kpt_names=None)
    assert read_labels(folder, five_keypoints).meta.names == KeypointMeta.build(five_keypoints).names
    with pytest.raises(ValueError, match="kpt_shape says 5 keypoints, without names; `keypoints` has 4"):
        read_labels(
            folder,
            {"dataset_name": "x", "names": list("abcd"), "swap": [], "skeleton": [], "sigmas": [0.1] * 4},
        )


def test_a_photo_without_labels_stays(tmp_path):
    folder = write_yolo(tmp_path, [line([(0.25, 0.5, 2)] * 5)])
    write_photo(tmp_path / "images/train/empty.png", WIDTH, HEIGHT)
    assert {photo.name: len(photo.people) for photo in read_labels(folder).photos()} == {
        "a.png": 1,
        "empty.png": 0,
    }


def test_names_and_limbs_as_sleap_io_writes_them(tmp_path):
    skeleton = [[0, 1], [0, 2]]
    folder = write_yolo(
        tmp_path, [line([(0.25, 0.5, 2)] * 5)], kpt_names=None, node_names=NAMES, skeleton=skeleton
    )
    meta = read_labels(folder).meta
    assert meta.names == tuple(NAMES)
    assert meta.skeleton == ((0, 1), (0, 2))
    write_yolo(tmp_path, [line([(0.25, 0.5, 2)] * 5)], skeleton=[[0, 5], "x"])
    assert read_labels(folder).meta.skeleton == ()


def test_a_class_that_names_lacks_is_told_and_can_be_chosen(tmp_path):
    folder = write_yolo(tmp_path, [line([(0.25, 0.5, 2)] * 5, number=1)], names={0: "animal"})
    told = r"expected lines of class 0 \(animal\), got lines of class 1 only; choose one with `label`"
    with pytest.raises(ValueError, match=told):
        read_labels(folder)
    assert len(list(read_labels(folder, label="1").people())) == 1


def test_photos_without_any_label_file_are_refused(tmp_path):
    folder = write_yolo(tmp_path, [line([(0.25, 0.5, 2)] * 5)])
    (folder / "labels/train/a.txt").rename(folder / "a.txt")
    with pytest.raises(ValueError, match=r"expected label files such as .*labels/train/a\.txt, found none"):
        read_labels(folder)
