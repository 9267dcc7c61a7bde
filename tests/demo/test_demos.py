from __future__ import annotations

import importlib.util
import json
import subprocess

import cv2
import pytest

from ehrpose.cli import run_cli
from ehrpose.media import VideoReader, VideoWriter


def demo(root, name):
    spec = importlib.util.spec_from_file_location(f"demo_{name}", root / f"demo/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def options(small_options):
    return ["--cfg-options", *(f"{key}={value}" for key, value in small_options.items())]


def test_video_demo_takes_a_folder_as_a_video(
    root, scene_photos, demo_config, lively_checkpoint, options, tmp_path
):
    words = [str(scene_photos), str(demo_config), str(lively_checkpoint), "--out-dir", str(tmp_path / "out")]
    demo(root, "video_demo")([*words, "--device", "cpu", *options])
    with VideoReader(tmp_path / "out/photos.mp4") as written:
        assert (len(list(written)), written.fps) == (3, 30)


def test_video_demo_takes_a_video(root, scene_photos, demo_config, lively_checkpoint, options, tmp_path):
    with VideoWriter(tmp_path / "a.avi", fps=10) as writer:
        for i in range(3):
            writer.write(cv2.imread(str(scene_photos / f"{i}.png")))
    words = [
        str(tmp_path / "a.avi"),
        str(demo_config),
        str(lively_checkpoint),
        "--pred-out-dir",
        str(tmp_path / "json"),
    ]
    demo(root, "video_demo")(
        [*words, "--device", "cpu", "--out-file", str(tmp_path / "b.mkv"), "--draw-heatmap", *options]
    )
    with VideoReader(tmp_path / "b.mkv") as written:
        assert len(list(written)) == 3
    assert len(json.loads((tmp_path / "json/b.json").read_text())) == 3


def test_image_demo_takes_the_model_in_two_ways(
    root, scene_photos, demo_config, lively_checkpoint, options, tmp_path
):
    main = demo(root, "image_demo")
    words = [str(scene_photos), str(demo_config), str(lively_checkpoint), "--out-dir", str(tmp_path / "a")]
    main([*words, "--draw-heatmap", *options])
    assert len(list((tmp_path / "a").glob("*.jpg"))) == 3
    with pytest.raises(SystemExit):
        main([*words, "--model", "ehrnet-small"])


def test_image_demo_without_a_model_lists_those_with_weights(root, scene_photos, capsys, monkeypatch):
    monkeypatch.setattr("ehrpose.model_zoo.list_models", lambda root=None: [])
    with pytest.raises(SystemExit) as exit_:
        run_cli(lambda: demo(root, "image_demo")([str(scene_photos)]))
    assert exit_.value.code == 2
    assert "models with weights: none" in capsys.readouterr().err


def test_make_demo_says_first_what_it_will_do(root):
    done = subprocess.run(["make", "-n", "demo-plan"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("about 10 minutes", "3 GB", "PIP_ARGS"):
        assert words in done.stdout


def test_synthetic_demo_says_what_to_type_next(root, capsys, monkeypatch, tmp_path):
    from ehrpose.analysis.training.demo import DemoResult

    result = DemoResult(0.7, 0.9, 200, tmp_path / "iter_1800.pth", tmp_path / "predictions.jpg")
    monkeypatch.setattr("ehrpose.analysis.training.demo.run_demo", lambda *_: result)
    demo(root, "synthetic_demo")([])
    before, after = capsys.readouterr().out.split("\nAP on 200 scenes")
    assert "5 to 10 minutes" in before
    assert "Expected AP: about 0.7" in after
    assert "-m ehrpose predict" in after
