"""What a format can hold survives being written and read, alone and by way of COCO; the rest is named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_cases import HEIGHT, WIDTH, label_set, person, shown_people

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels import LABEL_FORMATS, find_format, read_labels
from ehrpose.labels.label_format import losses

WRITTEN = [name for name in LABEL_FORMATS.module_dict if find_format(name).can_write and name != "sleap"]


def quarters(low, high):
    return st.integers(4 * low, 4 * high).map(lambda number: number / 4)


X, Y = quarters(0, WIDTH), quarters(0, HEIGHT)
KEYPOINTS = st.lists(st.tuples(X, Y, st.sampled_from([0, 1, 2, 2])), min_size=5, max_size=5)
BOX = st.tuples(quarters(0, 40), quarters(0, 30), quarters(1, 20), quarters(1, 15)).map(list)
OUTLINE = st.lists(st.tuples(X, Y), min_size=3, max_size=5).map(lambda points: [v for p in points for v in p])
PERSON = st.builds(
    lambda points, box, outline: person(points, box=box, polygons=outline),
    KEYPOINTS,
    BOX,
    st.lists(OUTLINE, max_size=2),
)
CROWD = st.builds(
    lambda outline: person([(0, 0, 0)] * 5, crowd=True, polygons=[outline]),
    OUTLINE,
)
PEOPLE = st.lists(PERSON | CROWD, min_size=1, max_size=3).filter(
    lambda people: any(not p.crowd and p.keypoints[:, 2].any() for p in people)
)


def held(labels, holds):
    """Return the people as a format with these fields returns them."""
    rows = []
    for name, crowd, keypoints, box, outlines in shown_people(labels):
        points = np.array(keypoints)
        if crowd and "crowds" not in holds:
            continue
        if "people without keypoints" not in holds and not points[:, 2].any():
            continue
        if "hidden keypoints" not in holds:
            points[points[:, 2] == 1, 2] = 2
        box = box if "boxes" in holds and not crowd else None
        rows.append((name, crowd, points.tolist(), box, outlines if "outlines" in holds else []))
    return sorted(rows, key=str)


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(people=PEOPLE)
def test_every_format_returns_what_it_can_hold_also_by_way_of_coco(name, people, tmp_path, five_keypoints):
    shutil.rmtree(tmp_path)
    labels = label_set(tmp_path / "photos", five_keypoints, people)
    meta, one = labels.meta, find_format(name)
    one.write(labels, tmp_path / "a")
    again = read_labels(tmp_path / "a", meta)
    wanted = [(row[0].split("/")[-1], *row[1:]) for row in held(labels, one.holds)]
    got = [(row[0].split("/")[-1], *row[1:]) for row in held(again, one.holds)]
    assert got == wanted
    find_format("coco").write(again, tmp_path / "b")
    one.write(read_labels(tmp_path / "b", meta), tmp_path / "c")
    via = held(read_labels(tmp_path / "c", meta), one.holds - {"boxes"})
    assert [row[1:] for row in via] == [row[1:] for row in held(again, one.holds - {"boxes"})]


@pytest.mark.parametrize("name", WRITTEN)
def test_order_and_mirror_pairs_of_the_skeleton_return_where_they_are_held(name, tmp_path, five_keypoints):
    keypoints = {**five_keypoints, "names": five_keypoints["names"][::-1]}
    everyone = person([(4 + k, 5, 2) for k in range(5)], box=[1, 1, 20, 20])
    labels = label_set(tmp_path / "photos", keypoints, [everyone])
    one = find_format(name)
    one.write(labels, tmp_path / "out")
    meta = read_labels(tmp_path / "out").meta
    if "order of keypoints" in one.holds:
        assert meta.names == labels.meta.names
    assert sorted(meta.names) == sorted(labels.meta.names)
    if "mirror pairs" in one.holds:
        assert meta.flip_indices == labels.meta.flip_indices
    if "limbs" in one.holds:
        assert {tuple(sorted(limb)) for limb in meta.skeleton} == {
            tuple(sorted(limb)) for limb in labels.meta.skeleton
        }


def test_a_skeletons_mirror_pairs_that_names_do_not_tell_survive_yolo(tmp_path, five_keypoints):
    names = list("abcde")
    keypoints = {**five_keypoints, "names": names, "swap": [("a", "e")], "skeleton": []}
    labels = label_set(tmp_path / "photos", keypoints, [person([(4, 5, 2)] * 5)])
    find_format("yolo").write(labels, tmp_path / "out")
    assert read_labels(tmp_path / "out").meta.flip_indices == (4, 1, 2, 3, 0)


def test_coco_keeps_ids_areas_masks_scores_and_crowd_index(tmp_path, five_keypoints):
    mask = {"size": [HEIGHT, WIDTH], "counts": [10, 5, HEIGHT * WIDTH - 15]}
    points = [(4, 5, 2), (6, 7, 1), (0, 0, 0), (8, 9, 2), (1, 1, 2)]
    labels = label_set(
        tmp_path / "photos",
        five_keypoints,
        [],
        train=[
            person(points, id=7, area=123.5, track_id=3, score=0.5),
            person([(0, 0, 0)] * 5, id=3, crowd=True, mask=mask),
        ],
        val=[person(points, id=7, area=2000.0, box=[1, 2, 30, 40])],
    )
    for split, number in (("train", 70), ("val", 4)):
        labels.splits[split] = [photo._replace(id=number, crowd_index=0.25) for photo in labels.splits[split]]
    find_format("coco").write(labels, tmp_path / "out")
    assert labels.losses == []
    again = read_labels(tmp_path / "out")
    assert {split: photos[0].id for split, photos in again.splits.items()} == {"train": 70, "val": 4}
    assert all(photo.crowd_index == 0.25 for photo in again.photos())
    first, crowd, other = again.people()
    assert (first.id, first.area, first.track_id, first.score) == (7, 123.5, 3, 0.5)
    assert (crowd.id, crowd.crowd, crowd.mask) == (3, True, mask)
    assert (other.id, other.area, list(other.box)) == (7, 2000.0, [1, 2, 30, 40])
    assert first.keypoints.tolist() == np.array(points, float).tolist()


def test_ids_that_evaluators_disagree_about_are_numbered_again_and_named(tmp_path, five_keypoints):
    labels = label_set(tmp_path / "photos", five_keypoints, [person([(4, 5, 2)] * 5, id=0)])
    find_format("coco").write(labels, tmp_path / "out")
    assert labels.losses == ["ids (not distinct whole numbers above 0): 1"]
    assert next(read_labels(tmp_path / "out").people()).id == 1


def test_everything_that_a_format_cannot_hold_is_counted(tmp_path, five_keypoints):
    rich = person(
        [(4, 5, 1)] * 5, box=[1, 1, 9, 9], area=9.0, id=4, track_id=1, score=0.5, keypoint_scores=np.ones(5),
        polygons=[[1, 1, 5, 5, 1, 5]],
    )  # fmt: skip
    crowd = person([(0, 0, 0)] * 5, crowd=True, box=[1, 1, 9, 9])
    labels = label_set(tmp_path / "photos", five_keypoints, [rich, crowd])
    assert losses(labels, frozenset()) == [
        "hidden keypoints: 5",
        "boxes: 2",
        "outlines: 1",
        "areas: 1",
        "crowds: 1",
        "ids: 1",
        "track ids: 1",
        "scores: 1",
        "keypoint scores: 5",
    ]


def test_photos_of_one_stem_are_not_written_over_each_other(tmp_path, five_keypoints):
    labels = label_set(tmp_path / "photos", five_keypoints, [person([(4, 5, 2)] * 5)])
    (photo,) = labels.photos()
    other = shutil.copy(photo.path, tmp_path / "train.bmp")
    labels.splits["train"].append(photo._replace(path=photo.path.parent / other, name="train.bmp"))
    for name in ("yolo", "labelme"):
        with pytest.raises(ValueError, match=r"train\.png and train\.bmp would share train\."):
            find_format(name).write(labels, tmp_path / name)
        assert not (tmp_path / name).exists()


def test_metadata_without_limbs_is_built_again(five_keypoints):
    meta = KeypointMeta.build({**five_keypoints, "skeleton": []})
    assert KeypointMeta.build(meta.to_dict()).skeleton == ()
