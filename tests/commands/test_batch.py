from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from ehrpose.__main__ import main
from ehrpose.media import VideoWriter


@pytest.fixture
def network(exported_small):
    return exported_small().path


@pytest.fixture
def folder(scene_photos):
    """Three photos, and a video of five frames of them."""
    with VideoWriter(scene_photos / "clip.mp4", fps=10) as writer:
        for number in range(5):
            writer.write(cv2.imread(str(scene_photos / f"{number % 3}.png")))
    return scene_photos


def batch(*words):
    """Run with one worker; return the exit code."""
    try:
        main(["batch", "--workers", "1", "--format", "jsonl", *map(str, words)])
    except SystemExit as ended:
        return ended.code
    return 0


def test_it_gives_what_predict_gives_and_goes_on_where_it_was(folder, network, tmp_path, capsys):
    model, out = ["--model", network, "--bbox-thr", "0"], tmp_path / "out"
    assert batch(folder, *model, "--out", out, "--smooth") == 0
    told = capsys.readouterr()
    assert told.out.startswith("1 video, 3 images: 8 frames, ")
    assert "2 of 2 items done in" in told.out
    assert told.out.endswith(f"onnxruntime fp32 -> {out / 'table.jsonl'}\n")
    words = ["--format", "jsonl", "--out-dir", str(tmp_path / "p"), *map(str, model)]
    main(["predict", str(folder / "clip.mp4"), "--smooth", *words])
    expected = (tmp_path / "p/clip.jsonl").read_bytes()
    assert (out / "videos/clip.jsonl").read_bytes() == expected
    assert b'"track_id": 0' in expected
    main(["predict", *[str(folder / f"{n}.png") for n in range(3)], *words])
    assert (out / "photos.jsonl").read_bytes() == (tmp_path / "p/predictions.jsonl").read_bytes()
    assert (out / "errors.jsonl").read_text() == ""

    # Again: nothing to do. A new file: only that one.
    assert batch(folder, *model, "--out", out, "--smooth") == 0
    assert "0 of 2 items done in" in capsys.readouterr().out
    shutil.copy(folder / "clip.mp4", folder / "more.mp4")
    (folder / "bad.avi").write_bytes(b"\0broken")
    assert batch(folder, *model, "--out", out, "--smooth") == 1
    told = capsys.readouterr()
    assert "2 of 4 items done in" in told.out
    assert f"{folder / 'bad.avi'} is not a readable video" in told.err
    assert "1 failed, 0 incomplete: see errors.jsonl" in told.err
    more = (out / "videos/more.jsonl").read_text()
    assert more.replace("more.mp4", "clip.mp4") == expected.decode()

    # Other options, another model: an error, and everything stays.
    before = {path: path.read_bytes() for path in out.rglob("*.jsonl")}
    for words, message in [
        (["--bbox-thr", "0.5"], "has results with --bbox-thr 0.0, got 0.5: choose another folder"),
        (["--batch-size", "2"], "has results with --batch-size 1, got 2"),
        (["--model", "ehrnet-small"], "has results of another model, name"),
    ]:
        assert batch(folder, *model, *words, "--out", out) == 2
        assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*.jsonl")} == before
    (out / "run.json").write_text("[]")
    assert batch(folder, *model, "--out", out) == 2
    assert "run.json is not the run.json of a batch: choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected files, folders, globs or lists of images and videos, got none"),
        (["none.mp4"], "no such file, folder or glob: none.mp4"),
        (["@empty.txt"], "the lists name none"),
        (["a.png", "--shard", "5/4"], "expected --shard as I/N with I from 1 to N, got '5/4'"),
        (["a.png", "--workers", "many"], "expected --workers as a number or auto, got 'many'"),
        (["a.png", "--workers", "0"], "expected --workers as a whole number of at least 1"),
        (["a.png", "--piece-frames", "2"], "expected --piece-frames as a whole number of at least 4"),
        (["a.png", "--model", "ehrnet-smal"], "did you mean ehrnet-small?"),
        (["a.png", "--model", "none.onnx"], "none.onnx"),
    ],
)
def test_mistakes_end_with_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "empty.txt").write_text("# nothing\n")
    assert batch(*words, "--out", "out") == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out/run.json").exists()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "out").write_text("")
    assert batch(tmp_path / "a.png", "--out", tmp_path / "out") == 2
    assert "out" in capsys.readouterr().err


def test_records_say_what_was_done(folder, network, tmp_path):
    out = tmp_path / "out"
    assert batch(folder, "--model", network, "--out", out) == 0
    run = json.loads((out / "run.json").read_text())
    assert run["model"]["name"].endswith("onnxruntime fp32")
    assert len(run["model"]["sha256"]) == 64
    assert run["settings"]["bbox_thr"] == 0.1
    (path,) = (path for path in (out / "items").glob("clip-*.json") if path.name.count(".") == 1)
    record = json.loads(path.read_text())
    assert (record["frames"], record["error"], record["files"]) == (5, None, [str(folder / "clip.mp4")])
    assert record["seconds"] > 0


@pytest.mark.slow
def test_torch_models_keep_their_number_of_threads(
    folder, demo_config, lively_checkpoint, small_options, tmp_path, capsys
):
    changes = [f"{key}={value}" for key, value in small_options.items()]
    words = [folder / "0.png", "--model", demo_config, "--weights", lively_checkpoint, "--device", "cpu"]
    words += ["--out", tmp_path / "out", "--cfg-options", *changes]
    assert batch(*words[: -len(changes) - 1], "--threads", "1", *words[-len(changes) - 1 :]) == 0
    model = json.loads((tmp_path / "out/run.json").read_text())["model"]
    assert (model["device"], model["num_threads"]) == ("cpu", 1)
    assert batch(*words) == 0, "whatever the number of cores is"
    capsys.readouterr()
    assert batch(*words[: -len(changes) - 1], "--threads", "2", *words[-len(changes) - 1 :]) == 2
    assert "has results of another model" in capsys.readouterr().err
