from __future__ import annotations

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
        ("a.gif", 10, None, "videos are written as"),
        ("a.mp4", 0, None, "fps must be positive"),
        ("a.mp4", float("nan"), None, "fps must be positive"),
        ("a.mp4", 10, "h264x", "four letters"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, fps, codec, message):
    with pytest.raises(VideoError, match=message):
        VideoWriter(tmp_path / name, fps, codec)


def test_an_unknown_encoder_is_named(tmp_path, capfd):
    writer = VideoWriter(tmp_path / "a.mp4", 10, "QQQQ")
    with pytest.raises(VideoError, match="no encoder for codec 'QQQQ'"):
        writer.write(frames(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_broken_and_missing_videos_are_named(tmp_path, capfd):
    with pytest.raises(FileNotFoundError, match="no such video"):
        VideoReader(tmp_path / "none.mp4")
    (tmp_path / "a.mp4").write_bytes(b"not a video")
    with pytest.raises(VideoError, match="no video that can be read"):
        VideoReader(tmp_path / "a.mp4")
