from __future__ import annotations

import numpy as np
import pytest
from mmengine.structures import InstanceData

from ehrpose.data_sample import PoseDataSample
from ehrpose.engine.visualizer import PoseVisualizer
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import VISUALIZERS
from ehrpose.visualization.drawing import draw_heatmaps, draw_people, write_picture


@pytest.fixture
def meta(five_keypoints):
    return KeypointMeta.build(five_keypoints)


@pytest.fixture
def person():
    return np.array([[[40, 20], [20, 40], [60, 40], [30, 80], [50, 80]]], np.float32)


def changed(before, after):
    return (before != after).any(axis=2)


def test_a_person_is_drawn_where_it_is_and_nowhere_else(meta, person):
    image = np.full((100, 200, 3), 90, np.uint8)
    before = image.copy()
    drawn = changed(image, draw_people(image, person, np.ones((1, 5)), meta))
    assert drawn[20, 40]
    assert drawn[80, 30]
    assert drawn[30, 30]  # on the limb from nose to left wrist
    assert not drawn[:, 75:].any()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("score", [0.29, -1.0])
def test_nothing_is_drawn_under_the_threshold(meta, person, score):
    image = np.zeros((100, 100, 3), np.uint8)
    assert not changed(image, draw_people(image, person, np.full((1, 5), score), meta, kpt_thr=0.3)).any()


def test_a_limb_needs_both_ends(meta, person):
    image = np.zeros((100, 100, 3), np.uint8)
    scores = np.array([[1, 0, 1, 0, 0]])
    drawn = changed(image, draw_people(image, person, scores, meta))
    assert drawn[30, 50]  # nose to right wrist
    assert not drawn[40, 20]


def test_options_of_drawing(meta, person):
    image = np.full((100, 100, 3), 90, np.uint8)
    plain = draw_people(image, person, np.ones((1, 5)), meta)
    black = draw_people(image, person, np.ones((1, 5)), meta, black_background=True)
    assert (black[0, 0] == 0).all()
    boxed = draw_people(image, person, np.ones((1, 5)), meta, bboxes=np.array([[20, 20, 60, 80]]))
    assert changed(plain, boxed)[60, 20]
    named = draw_people(image, person, np.ones((1, 5)), meta, show_kpt_idx=True)
    assert changed(plain, named).any()
    thick = draw_people(image, person, np.ones((1, 5)), meta, radius=9, thickness=7)
    assert changed(image, thick).sum() > 2 * changed(image, plain).sum()


@pytest.mark.parametrize(
    ("side", "extent", "width"), [(250, 200, 2), (250, 40, 1), (2000, 1500, 13), (2000, 60, 3)]
)
def test_lines_suit_the_image_and_the_person(meta, side, extent, width):
    image = np.zeros((side, side, 3), np.uint8)
    left, right = side // 2 - extent // 2, side // 2 + extent // 2
    person = np.array([[[left, 100], [right, 100], [0, 0], [0, 0], [0, 0]]], np.float32)
    picture = draw_people(image, person, np.array([[1, 1, 0, 0, 0]]), meta)
    limb = picture[:, side // 2].max(axis=1) / picture[100, side // 2].max()
    assert limb.sum() == pytest.approx(width + 1.5, abs=1.1), "smooth edges add a pixel or two"
    assert np.flatnonzero(limb).mean() == pytest.approx(100, abs=0.6)


def test_people_outside_the_image_and_no_people_are_no_error(meta, person):
    image = np.zeros((50, 50, 3), np.uint8)
    far = draw_people(image, person + 1e7, np.ones((1, 5)), meta)
    assert not far.any()
    assert not draw_people(image, np.zeros((0, 5, 2)), np.zeros((0, 5)), meta).any()
    with pytest.raises(ValueError, match="expected keypoints"):
        draw_people(image, person[:, :4], np.ones((1, 4)), meta)


def test_heatmap_overlay_is_hottest_at_the_peak():
    heat = np.zeros((2, 10, 10), np.float32)
    heat[1, 5, 7] = 1
    overlay = draw_heatmaps(np.zeros((40, 40, 3), np.uint8), heat)
    assert overlay[22, 30, 2] > 100  # red
    assert overlay[5, 5, 2] == 0


def test_visualizer_draws_annotations_next_to_predictions(five_keypoints, person, tmp_path):
    visualizer = VISUALIZERS.build(
        {"type": "PoseVisualizer", "name": "drawing", "keypoints": five_keypoints, "save_dir": str(tmp_path),
         "vis_backends": [{"type": "LocalVisBackend"}]}
    )  # fmt: skip
    sample = PoseDataSample(
        gt_instances=InstanceData(keypoints=person, visible=np.full((1, 5), 2)),
        pred_instances=InstanceData(keypoints=person + 5, keypoint_scores=np.ones((1, 5))),
    )
    image = np.full((100, 100, 3), 90, np.uint8)
    out = tmp_path / "deep" / "one.png"
    picture = visualizer.add_datasample("one", image, sample, out_file=str(out))
    assert picture.shape == (100, 200, 3)
    assert out.is_file()
    assert changed(image, picture[:, :100]).any()
    assert changed(image, picture[:, 100:]).any()
    only = visualizer.add_datasample("two", image, sample, draw_gt=False, step=3)
    assert only.shape == (100, 100, 3)
    assert any(path.suffix in (".png", ".jpg") for path in tmp_path.rglob("two*"))


def test_unwritable_formats_are_named_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"\.docx"):
        write_picture(tmp_path / "a.docx", np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finite_is_left_out(meta, person):
    image = np.zeros((100, 100, 3), np.uint8)
    person[0, 0] = np.nan
    drawn = changed(image, draw_people(image, person, np.ones((1, 5)), meta, bboxes=np.full((1, 4), np.nan)))
    assert drawn[40, 20], "its other keypoints stay"
    assert not drawn[30, 30], "limbs to it go"


def test_each_person_can_have_its_colour(meta, person):
    image = np.zeros((100, 200, 3), np.uint8)
    people = np.concatenate([person, person + np.array([100, 0])])
    drawn = draw_people(image, people, np.ones((2, 5)), meta, color_by="person")
    np.testing.assert_array_equal(drawn[20, 40], drawn[80, 30])
    assert (drawn[20, 40] != drawn[20, 140]).any()


def test_positions_count_in_parts_of_a_pixel(meta, person):
    image = np.zeros((100, 100, 3), np.uint8)
    centres = []
    for shift in (0.0, 0.25, 0.5):
        scores = np.array([[1, 0, 0, 0, 0]])
        drawn = draw_people(image, person + shift, scores, meta, radius=5).max(axis=2).astype(float)
        centres.append((drawn.sum(axis=0) * np.arange(100)).sum() / drawn.sum())
    np.testing.assert_allclose(np.diff(centres), 0.25, atol=0.06)


def test_drawing_mistakes_are_named(meta, person):
    image = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(ValueError, match="uint8 BGR array"):
        draw_people(image[..., 0], person, np.ones((1, 5)), meta)
    with pytest.raises(ValueError, match="bboxes"):
        draw_people(image, person, np.ones((1, 5)), meta, bboxes=np.zeros((2, 4)))
    with pytest.raises(ValueError, match="color_by"):
        draw_people(image, person, np.ones((1, 5)), meta, color_by="mood")


def test_tensorboard_gets_the_picture(five_keypoints, person, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is in the extra 'train'")
    visualizer = VISUALIZERS.build(
        {"type": "PoseVisualizer", "name": "board", "keypoints": five_keypoints, "save_dir": str(tmp_path),
         "vis_backends": [{"type": "TensorboardVisBackend"}]}
    )  # fmt: skip
    sample = PoseDataSample(pred_instances=InstanceData(keypoints=person, keypoint_scores=np.ones((1, 5))))
    visualizer.add_datasample("scene", np.zeros((100, 100, 3), np.uint8), sample, step=1)
    visualizer.close()
    events = [path.read_bytes() for path in tmp_path.rglob("events.*")]
    assert any(b"scene" in content and b"PNG" in content for content in events)


def test_the_visualizer_draws_as_the_config_says(five_keypoints, person):
    sample = PoseDataSample(
        pred_instances=InstanceData(keypoints=person, keypoint_scores=np.ones((1, 5))),
    )
    image = np.full((100, 100, 3), 90, np.uint8)
    plain = PoseVisualizer("plain", five_keypoints).add_datasample("a", image, sample)
    black = PoseVisualizer("black", five_keypoints, drawing={"black_background": True, "color_by": "person"})
    picture = black.add_datasample("a", image, sample)
    assert (plain[0, 0].tolist(), picture[0, 0].tolist()) == ([90] * 3, [0] * 3)
    assert changed(np.zeros_like(picture), picture).any()
    with pytest.raises(ValueError, match=r"drawing: unknown options \['stile'\]; available"):
        PoseVisualizer("wrong", five_keypoints, drawing={"stile": "openpose"})
