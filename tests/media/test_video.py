from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest

from ehrpose.media import VideoError, VideoReader, VideoWriter


def frames(count, size_wh=(64, 48)):
    """Grey frames that grow lighter."""
    return [np.full((size_wh[1], size_wh[0], 3), 20 * i, np.uint8) for i in range(count)]


def write_and_raise(writer):
    writer.write(frames(1)[0])
    raise KeyError


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, fps=12.5) as writer:
        for frame in frames(6):
            writer.write(frame)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with VideoReader(path) as reader:
        assert (reader.name, reader.size_wh, reader.is_camera) == ("a", (64, 48), False)
        assert reader.fps == pytest.approx(12.5)
        read = list(reader)
    assert [round(time * 12.5) for _, time in read] == list(range(6))
    for (image, _), expected in zip(read, frames(6)):
        assert abs(int(image.mean()) - int(expected.mean())) < 10  # neighbours differ by 20


def test_skipped_frames_are_passed_over(tmp_path):
    with VideoWriter(tmp_path / "a.avi", fps=10) as writer:
        for frame in frames(6):
            writer.write(frame)
    with VideoReader(tmp_path / "a.avi") as reader:
        assert reader.skip(4) == 4
        assert len(list(reader)) == 2
    with VideoReader(tmp_path / "a.avi") as reader:
        assert reader.skip(40) == 6


def test_an_error_leaves_nothing_and_an_old_video_stays(tmp_path):
    old = tmp_path / "a.mp4"
    old.write_bytes(b"what was there before")
    with pytest.raises(KeyError), VideoWriter(old, fps=10) as writer:
        write_and_raise(writer)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert old.read_bytes() == b"what was there before"


def test_frames_of_another_size_are_refused(tmp_path):
    mixed = [*frames(1), *frames(1, (32, 48))]
    with (
        pytest.raises(VideoError, match="all frames must be"),
        VideoWriter(tmp_path / "a.mp4", fps=10) as writer,
    ):
        list(map(writer.write, mixed))
    assert list(tmp_path.iterdir()) == []


def test_no_frames_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=10):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "fps", "codec", "message"),
    [
        ("a.gif", 10, None, "expected a video suffix"),
        ("a.mp4", 0, None, "fps must be positive"),
        ("a.mp4", float("nan"), None, "fps must be positive"),
        ("a.mp4", 10, "h264x", "four letters"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, fps, codec, message):
    with pytest.raises(VideoError, match=message):
        VideoWriter(tmp_path / name, fps, codec)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(IsADirectoryError, match=r"a\.mp4"):
        VideoWriter(tmp_path / "a.mp4", 10)
    with pytest.raises(NotADirectoryError, match="file"):
        VideoWriter(tmp_path / "file" / "b.mp4", 10)


def test_the_system_says_why_a_video_cannot_be_begun(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(
        Path, "touch", refuse
    )  # a read-only folder, which OpenCV reports as an unknown encoder
    with pytest.raises(PermissionError) as caught:
        VideoWriter(tmp_path / "a.mp4", 10).write(frames(1)[0])
    assert caught.value.filename == str(tmp_path / "a.mp4")


def test_an_unknown_encoder_is_named(tmp_path, capfd):
    writer = VideoWriter(tmp_path / "a.mp4", 10, "QQQQ")
    with pytest.raises(VideoError, match="no encoder for codec 'QQQQ'"):
        writer.write(frames(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_broken_and_missing_videos_are_named(tmp_path, capfd):
    with pytest.raises(FileNotFoundError, match="video not found"):
        VideoReader(tmp_path / "none.mp4")
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with pytest.raises(VideoError, match="is not a readable video"):
        VideoReader(tmp_path / "a.mp4")


class Capture:
    """Stand-in for cv2.VideoCapture whose frames have given times."""

    def __init__(self, times, fps=10.0, count=0):
        self.times, self.at, self.fps, self.count = times, -1, fps, count

    def isOpened(self):  # noqa: N802
        return True

    def get(self, what):
        known = {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FRAME_COUNT: self.count}
        return 1000 * self.times[self.at] if what == cv2.CAP_PROP_POS_MSEC else known.get(what, 0.0)

    def grab(self):
        self.at += 1
        return self.at < len(self.times)

    def read(self):
        return (True, np.zeros((4, 4), np.uint8)) if self.grab() else (False, None)

    def release(self):
        pass


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.1, 0.25, 0.3], [0, 0.1, 0.25, 0.3]),  # a variable rate, as in phone videos
        ([0, 0, 0, 0], [0, 0.1, 0.2, 0.3]),  # a container without times
        ([0.5, 0.6, 0.4, 0.8], [0.5, 0.6, 0.7, 0.8]),  # a step back
        ([float("nan"), 0.1, -1, 0.3], [0, 0.1, 0.2, 0.3]),
    ],
)
def test_times_are_those_of_the_container_where_they_grow(tmp_path, monkeypatch, times, expected):
    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Capture(times))
    with VideoReader(tmp_path / "a.mp4") as reader:
        read = list(reader)
    assert [time for _, time in read] == pytest.approx(expected)
    assert read[0][0].shape == (4, 4, 3)
    with VideoReader(tmp_path / "a.mp4") as reader:
        reader.skip(2)
        assert [time for _, time in reader] == pytest.approx(expected[2:])
    with VideoReader(tmp_path / "a.mp4", fps=20) as reader:  # the file's rate is wrong, and so are its times
        assert [time for _, time in reader] == pytest.approx([0, 0.05, 0.1, 0.15])


@pytest.mark.parametrize(("said", "missing"), [(0, 0), (10, 0), (11, 0), (12, 0), (30, 20)])
def test_missing_frames_are_counted_beyond_an_estimate(tmp_path, monkeypatch, said, missing):
    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(cv2, "VideoCapture", lambda _: Capture([0.1 * i for i in range(10)], count=said))
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert len(list(reader)) == 10
        assert reader.num_missing == missing


def test_a_video_that_was_turned_comes_upright(tmp_path):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("no ffmpeg program is on the PATH")
    with VideoWriter(tmp_path / "lying.mp4", fps=10) as writer:
        for _ in range(3):
            frame = np.zeros((48, 64, 3), np.uint8)
            frame[:, :16] = 255
            writer.write(frame)
    turned = tmp_path / "turned.mp4"
    command = [ffmpeg, "-v", "error", "-i", str(tmp_path / "lying.mp4"), "-c", "copy"]
    subprocess.run([*command, "-metadata:s:v", "rotate=90", str(turned)], check=False)
    matrix = subprocess.run(
        [ffmpeg, "-hide_banner", "-i", str(turned)], capture_output=True, check=False
    ).stderr
    if b"displaymatrix" not in matrix:  # ffmpeg 6 and newer
        subprocess.run(
            [ffmpeg, "-y", "-v", "error", "-display_rotation", "270", *command[3:], str(turned)], check=True
        )
    with VideoReader(turned) as reader:
        assert reader.size_wh == (48, 64)
        (image, _), *_ = reader
    assert image.shape == (64, 48, 3)
    upright = tmp_path / "upright.png"
    subprocess.run([ffmpeg, "-v", "error", "-i", str(turned), "-frames:v", "1", str(upright)], check=True)
    assert cv2.absdiff(image, cv2.imread(str(upright))).mean() < 5  # a quarter of it is white, the rest black


def test_a_disk_that_fills_up_ends_the_writing(tmp_path, monkeypatch, capfd):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000))

    def write_all():
        with VideoWriter(tmp_path / "a.mp4", fps=10) as writer:
            for frame in frames(10) * 20:
                writer.write(frame)

    with pytest.raises(VideoError, match="the disk is full"):
        write_all()
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
import numpy as np
from ehrpose.media import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a full disk: OpenCV goes on without an error
noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
with VideoWriter(sys.argv[1], 25) as writer:
    for i in range(90):
        writer.write(np.roll(noise, i, 1))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_frames_that_did_not_get_to_the_disk_are_noticed(tmp_path, root, suffix):
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"a{suffix}"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(root), "PATH": ""},
    )  # fmt: skip
    assert "90 frames were written, only" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
