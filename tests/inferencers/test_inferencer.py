from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from outcomes import people_of

from ehrpose.apis import inference
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.people_json import people_to_dicts


def test_a_folder_gives_what_inference_gives(inferencer, lively_model, scene_photos):
    paths = sorted(scene_photos.glob("*.png"))
    expected = [people_to_dicts(s.people(), 0.1) for s in inference(lively_model, paths)]
    assert people_of(inferencer(scene_photos)) == expected
    assert any(expected)
    assert people_of(inferencer([str(p) for p in paths])) == expected
    assert people_of(inferencer(str(scene_photos / "*.png"))) == expected
    assert people_of(inferencer(paths[1])) == expected[1:2]
    assert people_of(inferencer(cv2.imread(str(paths[1])))) == expected[1:2]


def test_results_come_one_by_one_and_nothing_is_read_before(inferencer, tmp_path):
    results = inferencer(tmp_path / "nothing.jpg")
    with pytest.raises(FileNotFoundError, match="no such image, folder or glob"):
        next(results)


def test_files_are_written_where_asked(inferencer, scene_photos, tmp_path):
    results = list(inferencer(scene_photos, out_dir=tmp_path / "out", batch_size=2))
    assert [len(result["predictions"]) for result in results] == [2, 1]
    assert [result["visualization"] for result in results] == [[], []]
    assert sorted(p.name for p in (tmp_path / "out/visualizations").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    written = json.loads((tmp_path / "out/predictions/1.json").read_text())
    assert written == results[0]["predictions"][1]
    assert set(written[0]) == {"keypoints", "keypoint_scores", "bbox", "bbox_score"}


def test_pictures_come_back_when_asked(inferencer, scene_photos):
    photo = cv2.imread(str(scene_photos / "0.png"))
    (result,) = inferencer(photo, return_vis=True, kpt_thr=0.0, draw_bbox=True)
    assert result["predictions"][0]
    assert result["visualization"][0].shape == photo.shape
    assert (result["visualization"][0] != photo).any()
    (with_heat,) = inferencer(photo, return_vis=True, kpt_thr=1e9, draw_heatmap=True)
    assert (with_heat["visualization"][0] != photo).any()


def test_unreadable_photos_are_named_and_the_others_done(inferencer, scene_photos, capsys):
    (scene_photos / "1.png").write_bytes(b"no photo at all")
    assert len(people_of(inferencer(scene_photos, batch_size=3))) == 2
    ((name, reason),) = inferencer.failed
    assert name.endswith("1.png")
    assert "not an image" in reason
    assert "1.png" in capsys.readouterr().err


def test_best_people_up_to_a_number(inferencer, scene_photos):
    everyone = people_of(inferencer(scene_photos, bbox_thr=0.0))
    best = people_of(inferencer(scene_photos, bbox_thr=0.0, num_instances=1))
    assert max(map(len, everyone)) > 1
    assert best == [rows[:1] for rows in everyone]


def test_an_input_is_never_overwritten(inferencer, video, scene_photos, tmp_path):
    photo = tmp_path / "a.jpg"
    cv2.imwrite(str(photo), cv2.imread(str(scene_photos / "0.png")))
    before = photo.read_bytes()
    with pytest.raises(ValueError, match="would overwrite its input"):
        list(inferencer(photo, vis_out_dir=tmp_path))
    assert photo.read_bytes() == before


def test_photos_of_any_shape_run_in_one_batch(demo_config, lively_checkpoint, small_options):
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((64, 64), (50, 90), (120, 40))]
    inferencer = PoseInferencer(demo_config, lively_checkpoint, cfg_options=small_options, letterbox=(96, 64))
    maps = inferencer.predictor.model.maps
    shapes = []
    inferencer.predictor.model.maps = lambda images: shapes.append(tuple(images.shape)) or maps(images)
    together = people_of(inferencer(photos, batch_size=3))
    assert shapes == [(3, 3, 64, 96)]
    assert [len(rows) for rows in together] == [len(people_of(inferencer(photo))[0]) for photo in photos]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "expected `batch_size` as a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "expected `batch_size` as a whole number of at least 1, got 2.5"),
        ({"batch_size": True}, "got True"),
        ({"batch_size": "2"}, "got '2'"),
        ({"skip": -1}, "expected `skip` as a whole number of at least 0, got -1"),
        ({"skip": 1.0}, "expected `skip` as a whole number"),
        ({"max_frames": 0}, "expected `max_frames` as a whole number of at least 1, got 0"),
        ({"max_frames": 1.5}, "expected `max_frames` as a whole number"),
        ({"num_instances": 2.5}, "expected `num_instances` as a whole number of at least -1, got 2.5"),
        ({"bbox_thr": "0.5"}, "expected `bbox_thr` as a number, got '0.5'"),
        ({"bbox_thr": float("nan")}, "expected `bbox_thr` as a number, got nan"),
        ({"kpt_thr": "0.5"}, "expected `kpt_thr` as a number, got '0.5'"),
        ({"style": "cubist"}, "style: expected one of 'mmpose', 'openpose', got 'cubist'"),
    ],
)
def test_wrong_arguments_are_named(inferencer, scene_photos, arguments, message):
    with pytest.raises(ValueError, match=message):
        next(inferencer(scene_photos, **arguments))


def test_skipping_everything_is_an_error(inferencer, scene_photos, video, tmp_path):
    with pytest.raises(ValueError, match=r"nothing is left after `skip` 99: .* the input's 3 photos"):
        list(inferencer(scene_photos, skip=99))
    with pytest.raises(ValueError, match=r"nothing is left after `skip` 999: .* frames"):
        list(inferencer(video, skip=999, out_file=tmp_path / "out.mp4"))
    assert not (tmp_path / "out.mp4").exists()
    assert len(list(inferencer(scene_photos, skip=2))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pose2d": "no-such-model"}, "no config file or zoo model named 'no-such-model'"),
        ({"pose2d": "configs/a.py", "backend": "onnxruntime"}, "backend is for exported files"),
        ({"pose2d": "end2end.onnx", "pose2d_weights": "a.pth"}, "contains its weights"),
        ({"pose2d": "end2end.onnx", "flip_test": True}, "flip_test cannot be changed"),
    ],
)
def test_models_that_cannot_be_used(arguments, message):
    with pytest.raises(ValueError, match=message):
        PoseInferencer(**arguments)


def test_one_picture_for_several_photos_is_refused(inferencer, scene_photos, tmp_path):
    with pytest.raises(ValueError, match="one image, but there are 3 photos"):
        next(inferencer(scene_photos, out_file=tmp_path / "a.jpg"))
    list(inferencer(scene_photos / "0.png", out_file=tmp_path / "a.png"))
    assert cv2.imread(str(tmp_path / "a.png")).shape == cv2.imread(str(scene_photos / "0.png")).shape
