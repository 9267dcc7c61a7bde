"""Each kind of finding: a planted fault is named, clean data is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ehrpose.data_check import misplaced, sides
from ehrpose.data_check.boxes import find_boxes_without_keypoints, find_keypoints_outside
from ehrpose.data_check.coco_source import find_label_files, read_labels
from ehrpose.data_check.data_labels import DataLabels, PhotoEntry
from ehrpose.data_check.findings import as_record, worst_first
from ehrpose.data_check.kinds import KINDS, find_all
from ehrpose.data_check.misplaced import find_misplaced_keypoints
from ehrpose.data_check.people import find_people_twice, find_people_without_keypoints, find_wrong_counts
from ehrpose.data_check.photo_files import find_broken_photos, find_turned_photos, find_wrong_sizes
from ehrpose.data_check.photo_scan import scan_photo, scan_photos
from ehrpose.data_check.same_photos import find_duplicate_photos, find_leaked_photos
from ehrpose.data_check.sides import find_swapped_sides
from ehrpose.data_check.summary import propose_limb_lengths, propose_sigmas, summarise
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto

BODY = [20, 20, 2, 40, 30, 2, 30, 50, 1, 50, 40, 2]


def labels_of(folder):
    return read_labels(find_label_files(folder))


def test_clean_data_has_no_errors(clean, monkeypatch):
    monkeypatch.setattr(sides, "_MEMBERS", 1)
    monkeypatch.setattr(misplaced, "_EPOCHS", 1)
    monkeypatch.setattr(misplaced, "_LEAST_STEPS", 100)
    found = find_all(*clean)
    assert set(found) == set(KINDS)
    assert [f for findings in found.values() for f in findings if f.level == "error"] == []
    judged = [
        f for name in ("swapped-sides", "misplaced-keypoint") for f in found[name] if f.level == "warning"
    ]
    assert len(judged) <= 3


def test_an_exchanged_person_is_named(clean, monkeypatch):
    monkeypatch.setattr(sides, "_MEMBERS", 1)
    labels, _ = clean
    row = int(np.flatnonzero(labels.labelled.sum(axis=1) == 17)[20])
    keypoints = labels.keypoints.copy()
    keypoints[row] = keypoints[row, list(labels.meta.flip_indices)]
    findings = find_swapped_sides(labels._replace(keypoints=keypoints))
    assert max(findings, key=lambda f: f.score).person == row


def test_a_moved_keypoint_is_named(clean, monkeypatch):
    monkeypatch.setattr(misplaced, "_EPOCHS", 1)
    monkeypatch.setattr(misplaced, "_LEAST_STEPS", 500)
    monkeypatch.setattr(misplaced, "LEAST_PEOPLE", 100)
    labels, _ = clean
    row, wrist = (
        int(np.flatnonzero(labels.labelled.sum(axis=1) == 17)[30]),
        labels.meta.names.index("left_wrist"),
    )
    keypoints = labels.keypoints.copy()
    keypoints[row, wrist, 1] -= 0.8 * labels.boxes[row, 3]
    found = worst_first(find_misplaced_keypoints(labels._replace(keypoints=keypoints)))
    assert (row, wrist) in [(f.person, f.keypoint) for f in found[:5]]


def test_too_few_people_are_not_judged(small):
    labels = labels_of(small([{"keypoints": BODY}]))
    assert find_swapped_sides(labels) == find_misplaced_keypoints(labels) == []


@pytest.mark.parametrize(
    ("box", "level"), [([20, 20, 30, 30], None), ([60, 50, 20, 20], "warning"), ([35, 15, 40, 50], "hint")]
)
def test_boxes_hold_their_keypoints(small, box, level):
    found = find_boxes_without_keypoints(labels_of(small([{"keypoints": BODY, "bbox": box}])))
    assert [f.level for f in found] == ([level] if level else [])


def test_keypoints_outside_the_photo(small):
    far, near = [*BODY[:9], 120, 40, 2], [*BODY[:9], 101, 40, 2]
    found = find_keypoints_outside(
        labels_of(small([{"keypoints": far}, {"keypoints": near}, {"keypoints": BODY}]))
    )
    assert [(f.person, f.keypoint, f.level) for f in found] == [(0, 3, "warning"), (1, 3, "hint")]
    assert "tail is 20 px outside" in found[0].text


def test_counts_of_keypoints(small):
    none = [0] * 12
    people = [
        {"keypoints": none, "num_keypoints": 4},
        {"keypoints": none, "num_keypoints": 0},
        {"keypoints": BODY},
    ]
    labels = labels_of(small(people))
    assert [(f.person, f.level) for f in find_wrong_counts(labels)] == [(0, "error")]
    assert [(f.person, f.level) for f in find_people_without_keypoints(labels)] == [(1, "hint")]


def test_a_person_annotated_twice(small):
    twin = [20.3, 20, 2, 40, 30.2, 2, 30, 50, 1, 50, 40, 2]
    other = [60, 20, 2, 80, 30, 2, 70, 50, 1, 90, 40, 2]
    people = [{"keypoints": BODY}, {"keypoints": other}, {"keypoints": twin}]
    labels = labels_of(small(people))
    assert [(f.person, f.level) for f in find_people_twice(labels)] == [(2, "error")]
    people[2]["bbox"] = [40, 30, 50, 50]
    assert [f.level for f in find_people_twice(labels_of(small(people)))] == ["hint"]


def entry(path, size=None, split="train"):
    return PhotoEntry(split, path.name, path, size)


def test_photos_broken_resized_or_missing(clean_folder, clean, tmp_path):
    labels, _facts = clean
    photo = labels.photos[0].path
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(photo.read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "empty.jpg").touch()
    paths = [cut, tmp_path / "text.jpg", tmp_path / "empty.jpg", tmp_path / "gone.jpg", photo]
    broken = labels._replace(photos=[entry(path, (160, 160)) for path in paths])
    found = find_broken_photos(broken, scan_photos(broken.photos))
    assert [f.photo for f in found] == [0, 1, 2, 3]
    assert found[3].text == "file not found"
    wrong = labels._replace(photos=[entry(photo, (160, 160)), entry(photo, (80, 80))])
    assert [f.photo for f in find_wrong_sizes(wrong, scan_photos(wrong.photos))] == [1]
    assert find_broken_photos(*clean) == find_wrong_sizes(*clean) == []


def test_turned_photos(tmp_path, clean):
    from PIL import Image

    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.zeros((50, 100, 3), np.uint8)).save(path, exif=exif)
    assert (scan_photo(entry(path)).size, scan_photo(entry(path)).turned) == ((50, 100), True)
    photos = [entry(path, (50, 100)), entry(path, (100, 50))]
    labels, facts = clean[0]._replace(photos=photos), scan_photos(photos)
    assert [f.photo for f in find_turned_photos(labels, facts)] == [0]
    (wrong,) = find_wrong_sizes(labels, facts)
    assert (wrong.photo, "EXIF" in wrong.text) == (1, True)


@pytest.mark.parametrize(("scale", "quality"), [(1.0, 95), (0.6, 50)])
def test_the_same_photo_resized_and_compressed(clean, tmp_path, scale, quality):
    labels, facts = clean
    pixels = cv2.imread(str(labels.photos[7].path))
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    copy = tmp_path / "copy.jpg"
    cv2.imwrite(str(copy), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    for split, find, other in (("val", find_leaked_photos, find_duplicate_photos),
                               ("train", find_duplicate_photos, find_leaked_photos)):  # fmt: skip
        more = labels._replace(photos=[*labels.photos, entry(copy, split=split)])
        seen = [*facts, scan_photo(more.photos[-1])]
        assert [(f.photo, f.other) for f in find(more, seen)] == [(len(labels.photos), 7)]
        assert other(more, seen) == []


def test_labels_of_any_reader_are_taken(clean):
    meta = clean[0].meta
    person = LabelledPerson(np.tile([5.0, 6.0, 2.0], (17, 1)))
    labels = DataLabels.build(
        {"mine": [LabelledPhoto(clean[0].photos[0].path, "a", None, [person, person], "")]}, meta
    )
    assert labels.frames().tolist() == [[5, 6, 1, 1]] * 2
    found = find_all(labels, scan_photos(labels.photos))
    assert [as_record(f, labels)["person"] for f in found["duplicate-person"]] == [1]
    assert summarise(labels)["splits"] == {"mine": {"photos": 1, "people": 2, "keypoints": 34}}


def test_sigmas_come_from_people_annotated_twice(clean):
    labels, _ = clean
    assert propose_sigmas(labels) == (
        pytest.approx(labels.meta.sigmas.tolist(), abs=1e-3), "skeleton, not measured",
    )  # fmt: skip
    rows = np.flatnonzero(labels.labelled.sum(axis=1) == 17)[:60]
    rng = np.random.default_rng(0)
    spread = np.sqrt(0.53 * np.ptp(labels.keypoints[rows, :, :2], axis=1).prod(axis=1))
    own, again = labels.keypoints[rows], labels.keypoints[rows].copy()
    again[..., :2] += rng.normal(0, 0.02, (len(rows), 17, 2)) * spread[:, None, None]
    twice = labels._replace(
        keypoints=np.concatenate([own, again]), photo=np.tile(np.arange(len(rows)), 2), ids=list(range(2 * len(rows))),
        boxes=np.tile(labels.boxes[rows], (2, 1)), stored=np.full(2 * len(rows), -1),
        crowd=np.zeros(2 * len(rows), bool),
    )  # fmt: skip
    sigmas, source = propose_sigmas(twice)
    assert source == "repeated annotations"
    assert np.mean(sigmas) == pytest.approx(0.02, abs=0.003)  # half of two axes of 0.02 each


def test_limb_lengths_are_those_of_the_people(clean):
    labels, _ = clean
    found = propose_limb_lengths(labels)
    assert found is not None
    assert len(found) == len(labels.meta.skeleton)
    assert np.mean(found) == pytest.approx(1, abs=0.02)
    few = labels._replace(crowd=np.arange(len(labels.crowd)) >= 10)  # ten people are left
    assert propose_limb_lengths(few) is None
