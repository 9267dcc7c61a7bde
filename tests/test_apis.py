from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ehrpose.apis import inference, list_images, to_predictions
from ehrpose.cli import run_cli
from ehrpose.config import load_config
from ehrpose.models.loading import init_model

OPTIONS = {"codec.input_size": 64, "codec.min_score": 0.01, "phi": -8}  # small_options of conftest


@pytest.fixture(scope="module")
def config(demo_config):
    return demo_config


@pytest.fixture(scope="module")
def model(lively_model):
    return lively_model


@pytest.fixture(scope="module")
def checkpoint(lively_checkpoint):
    return lively_checkpoint


@pytest.fixture
def photos(scene_photos):
    return scene_photos


@pytest.fixture
def image_demo(root):
    spec = importlib.util.spec_from_file_location("image_demo", root / "demo/image_demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_photos_as_files_and_as_arrays_give_the_same_people(model, photos):
    path = photos / "1.png"
    by_file, by_array = inference(model, path)[0], inference(model, cv2.imread(str(path)))[0]
    assert len(by_file.pred_instances.keypoints) > 0
    np.testing.assert_array_equal(by_file.pred_instances.keypoints, by_array.pred_instances.keypoints)


def test_a_batch_gives_what_single_photos_give(model, photos):
    paths = list_images(photos)
    together = inference(model, paths, batch_size=3)
    for path, sample in zip(paths, together):
        single = inference(model, path)[0].pred_instances.keypoints
        batched = sample.pred_instances.keypoints
        assert single.shape == batched.shape
        # The last bits of a convolution depend on the batch's size, and random weights leave pixels of nearly equal
        # score: a filled keypoint may then sit elsewhere. (The maps themselves are compared in tests/models.)
        moved = np.abs(single - batched).max(-1) > 1e-3
        assert moved.mean() < 0.01


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (200, 90)])
def test_photos_of_odd_shapes(model, shape):
    sample = inference(model, np.full((*shape, 3), 90, np.uint8))[0]
    assert sample.pred_instances.keypoints.shape[1:] == (17, 2)


def test_checkpoint_gives_the_same_people(model, checkpoint, config, photos):
    loaded = init_model(config, checkpoint, cfg_options=OPTIONS)
    path = photos / "0.png"
    np.testing.assert_array_equal(
        inference(model, path)[0].pred_instances.keypoints,
        inference(loaded, path)[0].pred_instances.keypoints,
    )


def test_mistakes_are_named(model, config, tmp_path):
    with pytest.raises(ValueError, match="uint8 BGR"):
        inference(model, np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"missing\.jpg"):
        inference(model, tmp_path / "missing.jpg")
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        init_model(config, tmp_path / "nothing.pth", cfg_options=OPTIONS)
    with pytest.raises(ValueError, match="device"):
        init_model(config, device="cuda:99", cfg_options=OPTIONS)


def test_checkpoint_of_another_phi_names_the_first_tensor(checkpoint, config):
    with pytest.raises(ValueError, match=r"backbone\.stem|stages|neck"):
        init_model(config, checkpoint, cfg_options={**OPTIONS, "phi": -4})


def test_photos_are_found_by_file_folder_and_glob(photos):
    assert [p.name for p in list_images(photos)] == ["0.png", "1.png", "2.png"]
    assert [p.name for p in list_images(photos / "[01].png")] == ["0.png", "1.png"]
    assert list_images(photos / "2.png") == [photos / "2.png"]
    for wrong in (photos / "*.gif", photos / "none"):
        with pytest.raises(FileNotFoundError, match="no such image, folder or glob"):
            list_images(wrong)
    empty = photos / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match="no photos"):
        list_images(empty)


def demo_options():
    return ["--cfg-options", *(f"{key}={value}" for key, value in OPTIONS.items())]


def test_demo_writes_a_picture_and_a_json_for_each_photo(
    image_demo, photos, config, checkpoint, tmp_path, model
):
    out = tmp_path / "out"
    arguments = [
        str(photos),
        str(config),
        str(checkpoint),
        "--out-dir",
        str(out),
        "--score-thr",
        "-1",
        *demo_options(),
    ]
    image_demo([*arguments, "--draw-bbox", "--draw-heatmap", "--show-kpt-idx"])
    assert sorted(p.name for p in out.iterdir()) == sorted(
        f"{i}.{s}" for i in range(3) for s in ("jpg", "json")
    )
    people = json.loads((out / "1.json").read_text())
    sample = inference(model, photos / "1.png")[0]
    assert people == to_predictions(sample)
    assert len(people[0]["keypoints"]) == 17
    assert cv2.imread(str(out / "1.jpg")).shape == cv2.imread(str(photos / "1.png")).shape


def test_demo_names_bad_photos_and_does_the_others(image_demo, photos, config, checkpoint, tmp_path, capsys):
    (photos / "0.png").write_bytes(b"broken")
    out = tmp_path / "out"
    arguments = [str(photos), str(config), str(checkpoint), "--out-dir", str(out), *demo_options()]
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: image_demo(arguments))
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "0.png" in error
    assert "could not be read" in error
    assert {p.name for p in out.iterdir()} == {"1.jpg", "1.json", "2.jpg", "2.json"}


def test_demo_mistakes_end_in_one_line(image_demo, photos, config, checkpoint, tmp_path, capsys):
    arguments = [
        str(photos),
        str(config),
        str(checkpoint),
        "--out-file",
        str(tmp_path / "one.jpg"),
        *demo_options(),
    ]
    with pytest.raises(SystemExit) as stop:
        run_cli(lambda: image_demo(arguments))
    assert stop.value.code == 2
    assert "there are 3 photos: give a folder as --out-dir" in capsys.readouterr().err


def test_options_also_change_a_config_that_is_read_already(config):
    cfg = load_config(config, OPTIONS)
    with pytest.raises(ValueError, match=r"did you mean 'model\.head\.num_blocks'"):
        init_model(cfg, cfg_options={"head.num_blocks": 2})
    model = init_model(cfg, cfg_options={"codec.input_size": 96})
    assert model.codec.input_size == 96
    assert cfg.codec.input_size == 64, "the caller's config stays as it is"


def test_a_batch_has_at_least_one_photo(model, photos):
    with pytest.raises(ValueError, match="batch_size"):
        inference(model, photos / "0.png", batch_size=0)
    with pytest.raises(ValueError, match=r"expected `batch_size` as a whole number of at least 1, got 2\.5"):
        inference(model, photos / "0.png", batch_size=2.5)
    assert inference(model, []) == []


def test_hidden_files_and_folders_are_no_photos(photos):
    (photos / "._0.png").write_bytes(b"what some systems leave next to a photo")
    (photos / "folder.png").mkdir()
    assert [p.name for p in list_images(photos)] == ["0.png", "1.png", "2.png"]


def test_demo_never_overwrites_a_photo_or_a_picture(image_demo, photos, config, checkpoint, tmp_path, capsys):
    cv2.imwrite(str(photos / "0.jpg"), cv2.imread(str(photos / "0.png")))
    before = (photos / "0.jpg").read_bytes()
    arguments = [str(photos), str(config), str(checkpoint), *demo_options()]
    image_demo([*arguments, "--out-dir", str(tmp_path / "out")])
    drawn = {p.name for p in (tmp_path / "out").glob("*.jpg")}
    assert drawn == {"0.jpg.jpg", "0.png.jpg", "1.jpg", "2.jpg"}
    (photos / "0.png").unlink()
    with pytest.raises(ValueError, match="would overwrite its input"):
        image_demo([*arguments, "--out-dir", str(photos)])
    assert (photos / "0.jpg").read_bytes() == before


def test_several_test_scales(config, checkpoint, photos):
    resize = {"type": "BottomUpResize", "codec": "$codec", "size_divisor": 32, "scales": [0.5, 1.0, 1.5]}
    pipeline = [{"type": "LoadImage"}, resize, {"type": "PackPose"}]
    options = {**OPTIONS, "test_dataloader.dataset.pipeline": pipeline}
    files = list_images(photos)
    one = inference(init_model(config, checkpoint, cfg_options=OPTIONS), files[:1])[0].pred_instances
    several = inference(init_model(config, checkpoint, cfg_options=options), files[:1])[0].pred_instances
    assert len(several.keypoints) > 0
    assert several.keypoints.shape[1:] == one.keypoints.shape[1:]
    assert not np.array_equal(several.bbox_scores, one.bbox_scores)
    size = cv2.imread(str(files[0])).shape[1::-1]
    assert (np.abs(several.keypoints - np.array(size) / 2) <= np.array(size)).all()


def test_the_inferencer_is_where_it_is_looked_for():
    import ehrpose
    from ehrpose.apis import PoseInferencer

    assert ehrpose.PoseInferencer is PoseInferencer


def test_public_functions_are_not_hidden_by_modules_of_their_name():
    code = (
        "from ehrpose import PoseInferencer, PoseRuntime, inference, init_model\n"
        "import ehrpose, ehrpose.apis, ehrpose.inferencers.inferencer\n"
        "assert inference is ehrpose.apis.inference and ehrpose.inference is inference\n"
        "assert init_model is ehrpose.init_model is ehrpose.apis.init_model\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
