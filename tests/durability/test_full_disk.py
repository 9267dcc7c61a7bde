"""Full and failing disks end what C libraries and MMEngine write with one error that names the file."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import ERRORS, Faults

from ehrpose.config import read_config
from ehrpose.engine.checkpoint import CheckpointError, write_weights
from ehrpose.files import WriteError
from ehrpose.growing_file import FrameFile
from ehrpose.media.video import VideoError
from ehrpose.media.writer import VideoWriter

CONFIG = Path(__file__).parents[2] / "configs/ehrnet/demo_synthetic-128.py"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("fault", ERRORS)
def test_a_full_temporary_folder_is_no_broken_config(temporary, fault):
    with Faults(temporary) as counted:
        read_config(CONFIG)
    for at in range(1, 1 + min(4, len(counted.calls))):
        with Faults(temporary, at, fault), pytest.raises(WriteError) as raised:
            read_config(CONFIG)
        assert str(CONFIG) in str(raised.value)
        assert f"the temporary folder {temporary}: " in str(raised.value)
        assert raised.value.errno == getattr(errno, fault)


def test_a_full_disk_is_no_missing_encoder(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_begin", full)
    with (
        pytest.raises(WriteError, match=r"clip\.mp4 could not be written: No space left"),
        VideoWriter(tmp_path / "clip.mp4", 10) as video,
    ):
        video.write(np.zeros((32, 32, 3), np.uint8))
    monkeypatch.setattr(VideoWriter, "_begin", lambda *_: int("no codec"))
    with (
        pytest.raises(VideoError, match="no encoder"),
        VideoWriter(tmp_path / "clip.mp4", 10) as video,
    ):
        video.write(np.zeros((32, 32, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=[16, 200])
def small_disk(request, tmp_path):
    """A disk of some KiB, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def write_video(path):
    with VideoWriter(path, 10) as video:
        for frame in np.random.default_rng(0).integers(0, 256, (60, 128, 128, 3), np.uint8):
            video.write(frame)


def write_frames(path):
    rows = FrameFile(path)
    try:
        for number in range(5000):
            rows.add({"frame_id": number, "instances": [{"keypoints": [0.123] * 10}]})
        rows.close()
    finally:
        rows.abort()


def write_checkpoint(path):
    write_weights(path, {"weight": torch.zeros(100_000)}, {})


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("clip.mp4", write_video),
        ("clip.avi", write_video),
        ("clip.json", write_frames),
        ("model.pth", write_checkpoint),
        ("model.safetensors", write_checkpoint),
    ],
)
def test_a_disk_that_is_full_keeps_the_old_file(small_disk, name, write):
    path = small_disk / name
    path.write_bytes(b"old")
    with pytest.raises((WriteError, CheckpointError), match=rf"{name} could not be written: No space left"):
        write(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in small_disk.iterdir()] == [name]


@pytest.mark.parametrize("place", ["full", "failing"])
def test_openvino_names_file_and_reason(tmp_path, monkeypatch, place):
    openvino = pytest.importorskip("openvino", reason="openvino is in the extra 'deploy'")
    from ehrpose.deploy.export.openvino_files import save_openvino

    def fails(*_, **__):
        raise RuntimeError("Check 'file' failed at serialize.cpp:124:\nbasic_ios::clear: iostream error\n")

    monkeypatch.setattr(openvino, "save_model", fails)
    reason = (
        r"No space left" if place == "full" else r"Input/output error \(basic_ios::clear: iostream error\)"
    )
    fault = Faults(tmp_path, 1 if place == "full" else None, "ENOSPC")
    with fault, pytest.raises(WriteError, match=rf"net\.xml could not be written: {reason}"):
        save_openvino(None, tmp_path / "net.xml", True)
