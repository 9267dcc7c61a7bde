from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ehrpose.inferencers.options import DrawOptions, OutputOptions, group_options, names_of, pick
from ehrpose.structures import People


def test_flat_names_and_groups_are_the_same():
    flat = {
        "kpt_thr": 0.5,
        "draw_bbox": True,
        "skeleton_style": "openpose",
        "out_dir": "o",
        "return_vis": True,
    }
    draw, write = group_options(flat)
    assert draw == DrawOptions(kpt_thr=0.5, draw_bbox=True, style="openpose")
    assert write == OutputOptions(out_dir="o", return_vis=True)
    begun = group_options({"kpt_thr": 0.5}, DrawOptions(kpt_thr=0.1, fade=True), write)
    assert begun == (DrawOptions(kpt_thr=0.5, fade=True), write), "a flat name replaces what the group says"
    assert group_options({}) == (DrawOptions(), OutputOptions())
    assert not set(names_of(DrawOptions)) & set(names_of(OutputOptions)), "a flat name belongs to one group"


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(TypeError, match=r"unknown option 'kpt_th'; did you mean 'kpt_thr'\?"):
        group_options({"kpt_th": 0.5})
    with pytest.raises(TypeError, match=r"unknown option 'batchsize'; did you mean 'batch_size'\?"):
        group_options({"batchsize": 2}, others=["batch_size"])
    with pytest.raises(TypeError, match=r"unknown option 'qqqq'; expected one of kpt_thr, .*keep_sound"):
        group_options({"qqqq": 2})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"style": "cubist"}, "style: expected one of 'mmpose', 'openpose', got 'cubist'"),
        ({"color_by": "mood"}, "color_by: expected one of 'limb', 'person', 'id', got 'mood'"),
        ({"draw_heatmap": True, "draw_tags": True}, "hide each other"),
        ({"kpt_thr": None}, "expected `kpt_thr` as a number, got None"),
        ({"kpt_thr": True}, "expected `kpt_thr` as a number, got True"),
        ({"radius": -3}, "expected `radius` as a number greater than 0, got -3"),
        ({"thickness": 0}, "expected `thickness` as a number greater than 0, got 0"),
        ({"thickness": "thick"}, "expected `thickness` as a number greater than 0, got 'thick'"),
        ({"draw_bbox": "no"}, "expected `draw_bbox` as True or False, got 'no'"),
        ({"style": None}, "style: expected one of 'mmpose', 'openpose', got None"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        DrawOptions(**values)


def test_folders_come_from_out_dir_where_not_given():
    both = OutputOptions(out_dir="o")
    assert (both.picture_folder, both.json_folder) == (Path("o/visualizations"), Path("o/predictions"))
    mixed = OutputOptions(out_dir="o", vis_out_dir="v", pred_out_dir="p")
    assert (mixed.picture_folder, mixed.json_folder) == ("v", "p")
    assert OutputOptions().picture_folder is OutputOptions().json_folder is None


@pytest.mark.parametrize(
    ("values", "draws"),
    [({}, False), ({"pred_out_dir": "p"}, False), ({"out_dir": "o"}, True), ({"vis_out_dir": "v"}, True),
     ({"out_file": "a.jpg"}, True), ({"show": True}, True), ({"return_vis": True}, True)],
)  # fmt: skip
def test_pictures_are_drawn_only_when_asked_for(values, draws):
    assert OutputOptions(**values).draws is draws


def test_the_fields_that_a_command_line_has_are_picked():
    values = {"kpt_thr": 0.7, "fade": True, "batch_size": 3, "out_file": "a.jpg"}
    assert pick(DrawOptions, values) == DrawOptions(kpt_thr=0.7, fade=True)
    assert pick(OutputOptions, values) == OutputOptions(out_file="a.jpg")


def test_boxes_scores_and_ids_are_those_of_the_people():
    people = People(
        np.ones((2, 3, 2), np.float32), np.ones((2, 3), np.float32), np.array([0.9, 0.5], np.float32)
    )
    plain = DrawOptions().for_people(people, None)
    assert plain["bboxes"] is plain["person_scores"] is plain["ids"] is None
    full = DrawOptions(draw_bbox=True, show_score=True).for_people(people, [4, 7])
    np.testing.assert_array_equal(full["bboxes"], people.boxes())
    np.testing.assert_array_equal(full["person_scores"], people.scores)
    assert full["ids"] == [4, 7]
