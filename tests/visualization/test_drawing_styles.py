"""Labels, colours of ids, fading and OpenPose's style."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.visualization.drawing import draw_people
from ehrpose.visualization.openpose_style import to_openpose
from ehrpose.visualization.person_colors import color_of_id
from ehrpose.visualization.text_labels import Label, draw_labels, text_color


@pytest.fixture
def meta(five_keypoints):
    return KeypointMeta.build(five_keypoints)


@pytest.fixture
def coco(coco_keypoints):
    return KeypointMeta.build(coco_keypoints)


GREY = np.full((240, 320, 3), 90, np.uint8)
PERSON = np.array([[[140, 60], [100, 120], [180, 120], [110, 220], [170, 220]]], np.float32)
ONES = np.ones((1, 5))


def changed(before, after):
    return (before != after).any(axis=2)


def test_a_person_keeps_the_colour_of_its_id_at_any_place_of_the_list(meta):
    two = np.concatenate([PERSON, PERSON + np.array([120, 0])])
    first = draw_people(GREY, two, np.ones((2, 5)), meta, color_by="id", ids=[4, 9])
    later = draw_people(GREY, two[::-1], np.ones((2, 5)), meta, color_by="id", ids=[9, 4])
    for picture in (first, later):
        assert picture[120, 100].tolist() == color_of_id(4)[::-1].tolist()
        assert picture[120, 220].tolist() == color_of_id(9)[::-1].tolist()


def test_colours_of_following_ids_differ():
    colors = np.array([color_of_id(i) for i in range(100, 112)], int)
    distances = np.abs(colors[:, None] - colors).sum(axis=2)
    assert distances[~np.eye(12, dtype=bool)].min() > 40
    assert color_of_id(-1).tolist() == color_of_id(-7).tolist() == [160, 160, 160]


def test_labels_are_over_the_head_in_the_colour_of_the_id(meta):
    plain = draw_people(GREY, PERSON, ONES, meta)
    drawn = changed(plain, draw_people(GREY, PERSON, ONES, meta, ids=[12]))
    rows, columns = np.nonzero(drawn)
    assert rows.max() < 60
    assert columns.min() <= 140 <= columns.max()
    label = draw_people(GREY, PERSON, ONES, meta, ids=[12])[drawn]
    assert (label == color_of_id(12)[::-1]).all(axis=1).mean() > 0.4, "the background"
    wider = changed(plain, draw_people(GREY, PERSON, ONES, meta, ids=[12], person_scores=[0.87]))
    assert wider.sum() > 1.5 * drawn.sum()
    np.testing.assert_array_equal(plain, draw_people(GREY, PERSON, ONES, meta, ids=[-1]))


@pytest.mark.parametrize("move", [(-139, -59), (170, -59), (-139, 100), (170, 100), (0, -55)])
def test_labels_stay_inside_the_picture(meta, move):
    people = PERSON + np.array(move)
    plain = draw_people(GREY, people, ONES, meta)
    labelled = draw_people(GREY, people, ONES, meta, ids=[12345], person_scores=[1.0])
    rows, columns = np.nonzero(changed(plain, labelled))
    centred = draw_people(GREY, PERSON, ONES, meta, ids=[12345], person_scores=[1.0])
    whole_rows, whole_columns = np.nonzero(changed(draw_people(GREY, PERSON, ONES, meta), centred))
    assert np.ptp(rows) >= 0.7 * np.ptp(whole_rows)
    assert np.ptp(columns) >= 0.9 * np.ptp(whole_columns)


def test_a_label_wider_than_the_picture_shrinks(meta):
    small = np.full((60, 50, 3), 90, np.uint8)
    canvas = small.copy()
    draw_labels(canvas, [Label("123456  0.55", np.array([10.0, 20, 30, 50]), (0, 0, 255), 12.0)])
    red = (canvas == (0, 0, 255)).all(axis=2)
    assert red[:, 0].any() or red[:, -1].any()
    assert (canvas[red.any(axis=1)] == 255).any(), "the text is there"
    edges = np.flatnonzero(red.any(axis=0))
    assert edges[-1] - edges[0] < 50


def test_people_outside_the_picture_get_no_label(meta):
    far = draw_people(GREY, PERSON + 1e6, ONES, meta, ids=[1], fade=True)
    np.testing.assert_array_equal(far, GREY)
    hidden = draw_people(GREY, PERSON, ONES * 0, meta, ids=[1], person_scores=[0.5])
    np.testing.assert_array_equal(hidden, GREY)


def test_labels_of_people_close_together_do_not_cover_each_other():
    box = np.array([100.0, 100, 140, 200])
    canvas = GREY.copy()
    colors = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255), (255, 255, 0)]
    draw_labels(canvas, [Label("0.55", box + i, color, 8.0) for i, color in enumerate(colors)])
    areas = [(canvas == color).all(axis=2).sum() for color in colors]
    assert min(areas) > 0.6 * max(areas)


def test_text_is_readable_on_its_background():
    assert text_color((0, 255, 255)) == (0, 0, 0)
    assert text_color((150, 20, 20)) == (255, 255, 255)


def test_fading_weakens_unsure_keypoints_only(meta):
    sure = np.full((1, 5), 0.9)
    plain = draw_people(GREY, PERSON, sure, meta)
    np.testing.assert_array_equal(plain, draw_people(GREY, PERSON, sure, meta, fade=True))
    unsure = sure.copy()
    unsure[0, 1] = 0.35  # left wrist
    faded = draw_people(GREY, PERSON, unsure, meta, fade=True)
    differs = changed(plain, faded)
    assert differs[120, 100]
    assert differs[90, 120], "the limb to it"
    assert not differs[120, 180], "the other wrist"
    assert changed(GREY, faded)[120, 100], "it can still be seen"
    contrast = [np.abs(picture[120, 100].astype(int) - 90).sum() for picture in (faded, plain)]
    assert contrast[0] < 0.7 * contrast[1]


def test_faded_people_at_the_border_and_of_no_confidence(meta):
    for move in ((-140, -60), (200, 0), (0, 150)):
        for style in ({}, {"thickness": 9, "radius": 8}):
            scores = np.full((1, 5), 0.3)
            faded = draw_people(GREY, PERSON + np.array(move), scores, meta, fade=True, **style)
            assert changed(GREY, faded).any()


def coco_person(coco):
    places = {"nose": (160, 40), "shoulder": (40, 80), "elbow": (50, 120), "wrist": (55, 160),
              "hip": (25, 150), "knee": (28, 190), "ankle": (30, 230), "eye": (8, 34), "ear": (16, 38)}  # fmt: skip
    points = []
    for name in coco.names:
        side, _, part = name.rpartition("_")
        x, y = places[part]
        points.append((x if not side else 160 + x * (1 if side == "left" else -1), y))
    return np.array([points], np.float32)


def test_openpose_has_a_neck_between_the_shoulders(coco):
    person, scores = coco_person(coco), np.linspace(0.4, 0.9, 17)[None]
    points, confidence, skeleton = to_openpose(person, scores, coco)
    neck = skeleton.names.index("neck")
    assert points[0, neck].tolist() == [160, 80]
    shoulders = [scores[0, coco.names.index(f"{side}_shoulder")] for side in ("left", "right")]
    assert confidence[0, neck] == min(shoulders)
    for k, name in enumerate(skeleton.names):
        if name != "neck":
            np.testing.assert_array_equal(points[0, k], person[0, coco.names.index(name)])
    assert len(skeleton.skeleton) == 17
    assert skeleton.keypoint_colors[[0, 1, 6, 12]].tolist() == [
        [255, 0, 0], [255, 85, 0], [0, 255, 0], [0, 0, 255],
    ]  # fmt: skip


def test_openpose_limbs_let_the_photo_through_and_keypoints_do_not(coco):
    person = coco_person(coco)
    drawn = draw_people(GREY, person, np.ones((1, 17)), coco, style="openpose")
    assert drawn[80, 160].tolist() == [0, 85, 255], "the neck"
    wrist = 160 + 55
    limb = drawn[140, round((160 + 50 + wrist) / 2)].astype(float)  # left elbow to left wrist: limb 5
    np.testing.assert_allclose(limb, 0.6 * np.array([0, 255, 85]) + 0.4 * 90, atol=2)
    shoulders = np.ones((1, 17))
    shoulders[0, coco.names.index("left_shoulder")] = 0
    without = draw_people(GREY, person, shoulders, coco, style="openpose")
    assert not changed(GREY, without)[80, 160], "no neck without both shoulders"


def test_openpose_limbs_are_thickest_in_the_middle(coco):
    person = coco_person(coco)
    drawn = changed(
        GREY, draw_people(GREY, person, np.ones((1, 17)), coco, style="openpose", thickness=12, radius=1)
    )
    middle, end = drawn[170, 160 + 15 : 160 + 40].sum(), drawn[153, 160 + 15 : 160 + 40].sum()
    assert middle >= 11
    assert end < middle - 3


def test_openpose_takes_colours_of_people_and_any_order_of_names(coco, coco_keypoints):
    person = coco_person(coco)
    own = draw_people(GREY, person, np.ones((1, 17)), coco, style="openpose", color_by="id", ids=[5])
    assert own[80, 160].tolist() == color_of_id(5)[::-1].tolist()
    plain = {key: coco_keypoints[key] for key in ("dataset_name", "swap", "skeleton", "sigmas")}
    backwards = KeypointMeta.build({**plain, "names": coco_keypoints["names"][::-1]})
    np.testing.assert_array_equal(
        draw_people(GREY, person, np.ones((1, 17)), coco, style="openpose"),
        draw_people(GREY, person[:, ::-1], np.ones((1, 17)), backwards, style="openpose"),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "openpose"}, "17 keypoints; 'five' has 5"),
        ({"style": "comic"}, "style must be one of 'mmpose', 'openpose', got 'comic'"),
        ({"color_by": "id"}, "needs ids"),
        ({"ids": [1, 2]}, "expected ids as \\(1,\\) integers"),
        ({"ids": [0.5]}, "integers"),
        ({"person_scores": ["good"]}, "person_scores"),
    ],
)
def test_mistakes_are_named(meta, options, message):
    with pytest.raises(ValueError, match=message):
        draw_people(GREY, PERSON, ONES, meta, **options)


def test_no_people_are_no_error_in_any_style(coco):
    no_people = np.zeros((0, 17, 2)), np.zeros((0, 17))
    options = {"ids": [], "person_scores": [], "bboxes": np.zeros((0, 4)), "fade": True}
    for style in ("mmpose", "openpose"):
        drawn = draw_people(GREY, *no_people, coco, color_by="id", style=style, **options)
        np.testing.assert_array_equal(drawn, GREY)
