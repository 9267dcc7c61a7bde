"""The parts that run on a device, without torch and onnx; also run on the device's Python by make test-runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

from ehrpose.analysis.speed.memory_probe import own_peak, peak_memory
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.media import VideoReader, VideoWriter
from ehrpose.registry import CODECS
from ehrpose.structures import Maps, invert_warp

NETWORK = Path(__file__).resolve().parents[1] / "data" / "tiny_network.onnx"


@pytest.fixture
def photo():
    image = np.random.default_rng(3).integers(0, 256, (48, 80, 3)).astype(np.uint8)
    return cv2.resize(image, (320, 192), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def runtime():
    with PoseRuntime(NETWORK, num_threads=1) as opened:
        yield opened


def test_people_of_a_photo_are_those_of_its_maps(runtime, photo):
    people = runtime(photo)
    assert len(people) > 0
    pixels, warp = runtime.prepare(photo)
    maps = runtime.run(pixels[None])
    assert isinstance(maps, Maps)
    again = runtime.codec.decode(maps.image(0)).warped(invert_warp(warp))
    np.testing.assert_array_equal(people.keypoints, again.keypoints)
    inside = people.keypoints[people.keypoint_scores > 0]
    assert (inside > -40).all()
    assert (inside < [360, 232]).all()


def test_a_file_and_its_array_yield_the_same(runtime, photo, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    from_file, from_array = runtime.predict([tmp_path / "a.png", photo])
    np.testing.assert_array_equal(from_file.keypoints, from_array.keypoints)


def test_codec_decodes_the_people_that_it_encoded(runtime):
    codec = CODECS.build(runtime.sidecar.codec)
    keypoints = np.random.default_rng(0).uniform(8, 56, (2, 5, 2)).astype(np.float32)
    targets = codec.encode(keypoints, np.full((2, 5), 2))
    tags = np.zeros((5, 16, 16), np.float32)
    for person, value in enumerate((-5.0, 5.0)):
        for k in range(5):
            x, y = keypoints[person, k] // 4
            tags[k, max(int(y) - 1, 0) : int(y) + 2, max(int(x) - 1, 0) : int(x) + 2] = value
    people = codec.decode(Maps(targets["heat4"], tags, targets["heat2"]))
    assert len(people) >= 2
    distances = np.abs(people.keypoints[:, None] - keypoints[None]).max(axis=(2, 3)).min(axis=0)
    assert (distances < 3).all()


def test_inferencer_on_a_folder_and_a_video(photo, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), np.roll(photo, 20 * i, axis=1))
    with VideoWriter(tmp_path / "clip.avi", fps=5) as writer:
        for i in range(4):
            writer.write(np.roll(photo, 10 * i, axis=1))
    with PoseInferencer(NETWORK, num_threads=1) as inferencer:
        results = list(
            inferencer(folder, out_dir=tmp_path / "out", batch_size=2, draw_bbox=True, show_score=True)
        )
        assert [len(r["predictions"]) for r in results] == [2, 1]
        assert json.loads((tmp_path / "out/predictions/2.json").read_text()) == results[1]["predictions"][0]
        assert (
            len(list(inferencer(tmp_path / "clip.avi", vis_out_dir=tmp_path / "out", draw_heatmap=True))) == 4
        )
    with VideoReader(tmp_path / "out/clip.mp4") as reader:
        assert len(list(reader)) == 4


def test_mistakes_are_named(tmp_path, photo):
    with pytest.raises(FileNotFoundError):
        PoseRuntime(tmp_path / "end2end.onnx")
    copied = tmp_path / "end2end.onnx"
    copied.write_bytes(NETWORK.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"end2end.onnx.json"):
        PoseRuntime(copied)
    (tmp_path / "end2end.onnx.json").write_text((NETWORK.parent / "tiny_network.onnx.json").read_text())
    PoseRuntime(copied).close()  # both files were renamed
    with pytest.raises(DeployError, match="unknown backend"):
        PoseRuntime(NETWORK, "abacus")
    with PoseRuntime(NETWORK) as runtime, pytest.raises(ValueError, match="uint8 BGR array"):
        runtime(photo.astype(np.float32))


def test_threads_get_what_one_thread_gets(runtime, photo):
    photos = [np.roll(photo, 3 * i, axis=1) for i in range(100)]
    wanted = [runtime(one) for one in photos]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(runtime, photos))
    for people, single in zip(found, wanted):
        np.testing.assert_array_equal(people.keypoints, single.keypoints)
        np.testing.assert_array_equal(people.scores, single.scores)


def test_a_gpu_is_refused_and_the_precision_named(photo):
    with pytest.raises(DeployError, match=r"has no CUDAExecutionProvider, only .*CPUExecutionProvider"):
        PoseInferencer(NETWORK, device="cuda:0")
    with PoseInferencer(NETWORK, device="cpu") as inferencer:
        assert inferencer.predictor.name.endswith(" onnxruntime fp32")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's own count")
def test_memory_is_measured_in_a_process_of_its_own(photo, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    job = {"path": str(NETWORK), "threads": 1, "options": {}, "photo": str(tmp_path / "a.png")}
    assert 20 < peak_memory(job) < 2000
    assert own_peak() > 20
    with pytest.raises(RuntimeError, match="failed"):
        peak_memory({**job, "path": "nothing.onnx"})


def test_neither_torch_nor_onnx_is_imported():
    code = (
        "import sys; sys.modules.update(torch=None, onnx=None, mmcv=None)\n"
        "import numpy as np\n"
        "from ehrpose import PoseInferencer\n"
        f"(result,) = PoseInferencer({str(NETWORK)!r})(np.zeros((40, 60, 3), np.uint8), return_vis=True)\n"
        "print(result['visualization'][0].shape)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(40, 60, 3)"


BARE = (
    "import sys\n"
    "sys.modules.update(dict.fromkeys(('torch', 'onnx', 'mmcv', 'mmengine', 'rich', 'scipy', 'pycocotools')))\n"
    "from ehrpose.__main__ import main\n"
    "main(sys.argv[1:])\n"
)


def bare(*words):
    command = [sys.executable, "-c", BARE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_labels_are_converted_and_checked_with_a_skeleton_file(photo, tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / "yolo" / kind / "train").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "yolo/images/train/a.png"), photo)
    line = " ".join(["0 0.5 0.5 0.5 0.5", *(["0.4", "0.4", "2", "0.5", "0.5", "2"] * 2), "0.6 0.6 1"])
    (tmp_path / "yolo/labels/train/a.txt").write_text(line)
    (tmp_path / "yolo/data.yaml").write_text("train: images/train\nnames: [person]\nkpt_shape: [5, 3]\n")
    skeleton = NETWORK.parents[2] / "configs/_base_/keypoints/five.py"
    done = bare("convert", tmp_path / "yolo", tmp_path / "coco", "--to", "coco", "--keypoints", skeleton)
    assert done.returncode == 0, done.stderr
    assert "train: 1 photo, 1 person" in done.stdout
    done = bare("check", tmp_path / "coco", "--keypoints", skeleton, "--html", tmp_path / "a.html")
    assert done.returncode == 0, done.stderr
    assert "train: 1 photo, 1 person, 5 keypoints" in done.stdout
    built = tmp_path / "mine.py"
    built.write_text(f"_base_ = {str(skeleton)!r}\n")
    done = bare("check", tmp_path / "coco", "--keypoints", built)
    assert (done.returncode, done.stderr.count("\n")) == (2, 2)  # the first says that it runs as a program
    assert "this needs mmengine, which is not installed" in done.stderr
