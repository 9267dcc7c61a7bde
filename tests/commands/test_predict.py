from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import cv2
import pytest

from ehrpose.__main__ import main
from ehrpose.media import VideoReader, VideoWriter


@pytest.fixture
def model(demo_config, lively_checkpoint, small_options):
    """Options that name the small network."""
    changes = [f"{key}={value}" for key, value in small_options.items()]
    return [
        "--model",
        str(demo_config),
        "--weights",
        str(lively_checkpoint),
        "--device",
        "cpu",
        "--cfg-options",
        *changes,
    ]


@pytest.fixture
def clip(scene_photos, tmp_path):
    return write_clip(tmp_path / "clip.mp4", scene_photos, 8)


def write_clip(path, photos, frames):
    scenes = [cv2.imread(str(photos / f"{i}.png")) for i in range(3)]
    with VideoWriter(path, fps=10) as writer:
        for i in range(frames):
            writer.write(scenes[i % 3])
    return path


def frames_of(path):
    with VideoReader(path) as reader:
        return [image for image, _ in reader]


def fails(words, capsys, code=2):
    with pytest.raises(SystemExit) as exit_:
        main([str(word) for word in words])
    assert exit_.value.code == code
    return capsys.readouterr().err


def test_a_video_gives_a_video_and_a_json(clip, model, tmp_path, capsys):
    out = tmp_path / "out"
    main(["predict", str(clip), "--out-dir", str(out), "--draw-bbox", "--show-fps", "--no-audio", "--batch-size", "3",
          "--kpt-thr", "0", *model])  # fmt: skip
    assert sorted(p.name for p in out.iterdir()) == ["clip.json", "clip.mp4"]
    rows = json.loads((out / "clip.json").read_text())
    assert len(frames_of(out / "clip.mp4")) == len(rows) == 8
    people = sum(len(row["instances"]) for row in rows)
    assert people > 0
    told = capsys.readouterr().out
    assert told.startswith(f"8 frames, {people} people, ")
    assert "clip.mp4" in told
    assert cv2.absdiff(frames_of(out / "clip.mp4")[0], frames_of(clip)[0]).mean() > 1


def test_drawing_options_reach_the_picture(scene_photos, model, tmp_path):
    photo = str(scene_photos / "0.png")
    looks = [
        [],
        ["--style", "openpose"],
        ["--color-by", "person"],
        ["--show-score"],
        ["--draw-tags"],
        ["--fade"],
    ]
    seen = set()
    for i, look in enumerate(looks):
        main(["predict", photo, "--out-file", str(tmp_path / f"{i}.png"), "--kpt-thr", "0.2", *look, *model])
        seen.add(cv2.imread(str(tmp_path / f"{i}.png")).tobytes())
    assert len(seen) == len(looks)


def test_part_of_a_video_as_one_file(clip, model, tmp_path):
    target = tmp_path / "sub" / "part.avi"
    main(["predict", str(clip), "--out-file", str(target), "--skip", "2", "--max-frames", "3", "--black-background",
          "--kpt-thr", "1e9", "--no-audio", "--codec", "MJPG", *model])  # fmt: skip
    assert len(frames_of(target)) == 3
    assert frames_of(target)[0].mean() < 1
    assert [row["frame_id"] for row in json.loads((tmp_path / "sub/part.json").read_text())] == [2, 3, 4]


def test_the_sound_goes_along(clip, model, tmp_path, capsys):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("no ffmpeg program is on the PATH")
    loud = tmp_path / "loud.mp4"
    subprocess.run([ffmpeg, "-v", "error", "-i", str(clip), "-f", "lavfi", "-i", "sine=440:d=0.8", "-c:v", "copy",
                    "-c:a", "aac", str(loud)], check=True)  # fmt: skip
    main(["predict", str(loud), "--out-dir", str(tmp_path / "out"), "--skip", "3", *model])
    written = tmp_path / "out/loud.mp4"
    assert len(frames_of(written)) == 5
    sound = subprocess.run([ffmpeg, "-v", "error", "-i", str(written), "-map", "0:a", "-f", "s16le", "-ar", "8000",
                            "-ac", "1", "-"], check=True, capture_output=True).stdout  # fmt: skip
    assert len(sound) / 2 / 8000 == pytest.approx(0.5, abs=0.1)
    assert capsys.readouterr().err == ""


def test_photos_give_pictures_and_a_broken_one_is_named(scene_photos, model, tmp_path, capsys):
    main(["predict", str(scene_photos), "--out-dir", str(tmp_path / "out"), *model])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"{i}.{s}" for i in range(3) for s in ("jpg", "json")
    ]
    assert "0.png: " in capsys.readouterr().out
    (scene_photos / "1.png").write_bytes(b"broken")
    told = fails(["predict", scene_photos, "--out-dir", tmp_path / "rest", *model], capsys, code=1)
    assert "1.png" in told
    assert "1 of 3 images could not be read" in told
    assert len(list((tmp_path / "rest").glob("*.jpg"))) == 2


def test_photos_as_a_video(scene_photos, model, tmp_path, capsys):
    main(["predict", str(scene_photos), "--fps", "5", "--out-file", str(tmp_path / "a.mp4"), *model])
    assert len(frames_of(tmp_path / "a.mp4")) == 3
    cv2.imwrite(str(scene_photos / "1.png"), cv2.imread(str(scene_photos / "0.png"))[:64])
    told = fails(["predict", scene_photos, "--fps", 5, "--out-file", tmp_path / "b.mp4", *model], capsys)
    assert "1.png" in told
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.mp4"], "no such image, folder or glob: missing.mp4"),
        (["text.mp4"], "text.mp4 is not a readable video"),
        (["webcam:98"], "camera 98 cannot be opened"),
        (["clip.mp4", "--out-file", "a.gif"], "expected a video suffix"),
        (["clip.mp4", "--out-file", "clip.mp4"], "would overwrite its input"),
        (["clip.mp4", "--codec", "QQQQ"], "no encoder for codec 'QQQQ'"),
        (["clip.mp4", "--max-frames", "0"], "--max-frames as a whole number of at least 1"),
        (["clip.mp4", "--fps", "-1"], "fps must be between"),
        (["clip.mp4", "--draw-tags", "--draw-heatmap"], "hide each other"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    clip, model, capfd, monkeypatch, tmp_path, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    before = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    with pytest.raises(SystemExit) as exit_:
        main(["predict", *options, "--no-audio", *model])
    assert exit_.value.code == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert message in line
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == before


def test_models_that_cannot_be_used(clip, demo_config, capsys, monkeypatch):
    assert "a config without weights" in fails(["predict", clip, "--model", demo_config], capsys)
    monkeypatch.setattr("ehrpose.model_zoo.list_models", lambda root=None: [])
    assert "named 'ehrnet-small'; models with weights: none" in fails(["predict", clip], capsys)


def check_what_is_left(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["long.json", "long.mp4"]
    rows = json.loads((folder / "long.json").read_text())
    assert len(frames_of(folder / "long.mp4")) == len(rows)
    assert 0 < len(rows) < 2000


def test_ctrl_c_keeps_a_whole_video(scene_photos, model, tmp_path, capsys):
    clip = write_clip(tmp_path / "long.mp4", scene_photos, 2000)

    def press():
        wait_for(lambda: is_being_written(tmp_path / "out"))
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    told = fails(["predict", clip, "--out-dir", tmp_path / "out", "--no-audio", *model], capsys, code=130)
    finger.join()
    assert told.splitlines()[-1] == "interrupted: the output written so far is kept"
    check_what_is_left(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_command_keep_a_whole_video(scene_photos, model, tmp_path, root, number):
    clip = write_clip(tmp_path / "long.mp4", scene_photos, 2000)
    command = [
        sys.executable,
        "-m",
        "ehrpose",
        "predict",
        str(clip),
        "--out-dir",
        str(tmp_path / "out"),
        "--no-audio",
    ]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, *model], env=env, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: process.poll() is not None or is_being_written(tmp_path / "out"))
        process.send_signal(number)
        told = process.communicate(timeout=300)[1]
    assert process.returncode == 128 + number
    assert told.splitlines()[-1] == "interrupted: the output written so far is kept"
    check_what_is_left(tmp_path / "out")


def is_being_written(folder):
    return any(video.stat().st_size > 20_000 for video in folder.glob(".long.*.partial.mp4"))


def wait_for(ready):
    deadline = time.monotonic() + 300
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
def test_an_exported_model_needs_no_torch(
    clip, demo_config, lively_checkpoint, small_options, tmp_path, root
):
    pytest.importorskip("onnxruntime")
    changes = [f"{key}={value}" for key, value in small_options.items()]
    main(
        [
            "deploy",
            str(demo_config),
            str(lively_checkpoint),
            "--work-dir",
            str(tmp_path / "deploy"),
            "--cfg-options",
            *changes,
        ]
    )
    code = "import sys; sys.modules.update(torch=None); from ehrpose.__main__ import main; main()"
    exported = tmp_path / "deploy/end2end.onnx"
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", str(clip), "--model", str(exported), "--out-dir", str(tmp_path / "out"),
         "--no-audio"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(frames_of(tmp_path / "out/clip.mp4")) == 8
    demo = [sys.executable, str(root / "demo/image_demo.py"), str(tmp_path / "photos/0.png"), "--model", str(exported),
            "--out-dir", str(tmp_path / "one")]  # fmt: skip
    subprocess.run(demo, env={**os.environ, "PYTHONPATH": str(root)}, check=True)
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == ["0.jpg", "0.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252"])
def test_a_name_that_stdout_cannot_encode_does_not_end_the_run(scene_photos, tmp_path, root, encoding):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    photos, out = tmp_path / "album", tmp_path / "out"
    photos.mkdir()
    content = (scene_photos / "0.png").read_bytes()
    for name in (b"a.png", b"caf\x82.png", "\u5199\u771f.png".encode()):
        with open(os.path.join(os.fsencode(photos), name), "wb") as file:
            file.write(content)
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(root)}
    words = [
        "predict",
        str(photos),
        "--out-dir",
        str(out),
        "--model",
        str(root / "tests/data/tiny_network.onnx"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "ehrpose", *words], capture_output=True, env=env, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert rb"caf\udc82.png: " in done.stdout
    assert done.stdout.count(b"\n") == 4
    assert len(list(out.iterdir())) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--style", "cubist"], "argument --style: invalid choice: 'cubist' (choose from"),
        (["--color-by", "mood"], "argument --color-by: invalid choice: 'mood' (choose from"),
        (["--stile", "openpose"], "unrecognized arguments: --stile openpose; did you mean --style?"),
        (["--qqq"], "unrecognized arguments: --qqq; ehrpose predict --help lists them"),
        (["--batch-size", "2.5"], "argument --batch-size: invalid int value: '2.5'"),
        (["--batch-size", "0"], "expected --batch-size as a whole number of at least 1, got 0"),
        (["--kpt-thr", "nan"], "expected --kpt-thr as a number, got nan"),
        (["--draw-heatmap", "--draw-tags"], "choose one of --draw-heatmap and --draw-tags"),
    ],
)
def test_unknown_options_and_values_are_one_line(scene_photos, model, tmp_path, capsys, words, message):
    told = fails(["predict", scene_photos, "--out-dir", tmp_path / "out", *words, *model], capsys)
    assert message in told.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_skipping_everything_is_one_line(scene_photos, clip, model, tmp_path, capsys):
    told = fails(["predict", clip, "--skip", "100", "--out-dir", tmp_path / "out", *model], capsys)
    assert "nothing is left after --skip 100: expected fewer than the input's 8 frames" in told
    told = fails(["predict", scene_photos, "--skip", "3", "--out-dir", tmp_path / "out", *model], capsys)
    assert "nothing is left after --skip 3: expected fewer than the input's 3 photos" in told


def test_what_is_passed_over_is_said(scene_photos, model, tmp_path, capsys):
    (tmp_path / "album").mkdir()
    shutil.copy(scene_photos / "0.png", tmp_path / "album")
    (tmp_path / "album" / "IMG.MOV").write_bytes(b"")
    main(["predict", str(tmp_path / "album"), "--out-dir", str(tmp_path / "out"), *model])
    told = capsys.readouterr()
    assert "passed over 1 entry that is not a photo: IMG.MOV" in told.err
    assert "1 image, " in told.out


def test_the_summary_names_folders_in_place_of_many_files(tmp_path, capsys):
    from ehrpose.commands.predict import _Report

    files = [tmp_path / "clip.mp4", *(tmp_path / "clip" / f"{i:06d}_keypoints.json" for i in range(9))]
    _Report("video").end(files, "net")
    assert capsys.readouterr().out.endswith(f"net -> {tmp_path}, {tmp_path / 'clip'}\n")
    _Report("video").end(files[:2], "net")
    assert capsys.readouterr().out.endswith(f"net -> {files[0]}, {files[1]}\n")
