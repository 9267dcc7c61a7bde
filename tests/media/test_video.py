from __future__ import annotations

import os
import struct
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import make_clip

from ehrpose.media import Outputs, VideoError, VideoReader, VideoWriter, open_inputs


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
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)  # a read-only folder,
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


def uneven():
    """Ten frames a second for 2 s, then 30 for 1 s."""
    return [i / 10 for i in range(20)] + [2 + i / 30 for i in range(30)]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
@pytest.mark.parametrize("hint", [5, 30, 1000])
def test_rates_come_from_the_frames_not_from_the_header(tmp_path, suffix, hint):
    codec = "libvpx" if suffix == ".webm" else "mpeg4"
    path = make_clip(tmp_path / f"a{suffix}", uneven(), hint=hint, codec=codec)
    with open_inputs(path) as inputs, Outputs(inputs, out_file=tmp_path / "b.mp4") as outputs:
        assert inputs.fps == pytest.approx(49 / uneven()[-1], abs=0.02)
        for frame in inputs:
            outputs.draw(frame, lambda image=frame.image: image)
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert [time for _, time in reader] == pytest.approx(uneven(), abs=0.0015)


@pytest.mark.parametrize("fps", [12.5, 24000 / 1001, 30000 / 1001, 60, 120000 / 1001, 240, 1000, 2000])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_even_rates_stay_exact(tmp_path, fps, suffix):
    if suffix == ".avi" and fps > 1000:
        with pytest.raises(VideoError, match="AVI has at most 1000 frames/s"):
            VideoWriter(tmp_path / "a.avi", fps)
        return
    for name in (f"a{suffix}", f"b{suffix}"):
        with VideoWriter(tmp_path / name, fps) as writer:
            for i in range(30):
                writer.write(frames(1)[0], i / fps if name[0] == "b" else None)
        with VideoReader(tmp_path / name) as reader:
            assert reader.fps == pytest.approx(fps, rel=0.03 if fps > 500 else 1e-4)
            assert len(list(reader)) == reader.num_frames == 30


@pytest.mark.parametrize("size_wh", [(161, 121), (64, 49), (33, 48)])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", None), (".mov", None), (".mkv", None), (".avi", None), (".mp4", "avc1"), (".mkv", "VP90")],
)
def test_odd_sizes_stay(tmp_path, size_wh, suffix, codec):
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 10, codec) as writer:
        for frame in frames(3, size_wh):
            frame[-1], frame[:, -1] = 250, 250
            writer.write(frame)
    with VideoReader(path) as reader:
        assert reader.size_wh == size_wh
        for image, _ in reader:
            assert image.shape == (size_wh[1], size_wh[0], 3)
            assert image[-1].mean() > 200, "the last row"
            assert image[:, -1].mean() > 200, "the last column"


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [("16/15", (96, 72)), ("1/2", (90, 144)), ("4/3", (120, 72)), ("1000/1", (90, 72))],
)
def test_pixels_become_square(tmp_path, aspect, expected):
    path = make_clip(tmp_path / "a.mkv", [0, 0.1], size_wh=(90, 72), aspect=Fraction(aspect))
    with VideoReader(path) as reader:
        assert reader.size_wh == expected
        assert [image.shape[1::-1] for image, _ in reader] == [expected] * 2


def even_frames(seconds=3.0, fps=30):
    return [i / fps for i in range(round(seconds * fps))]


@pytest.mark.parametrize(
    ("name", "times", "options"),
    [
        ("edit.mp4", [t - 1.2 for t in even_frames()], {}),  # an edit list hides what is before 0
        ("long_sound.mkv", even_frames(), {"sounds": [(0, 5, 0, "aac")]}),
        ("long_sound.mp4", even_frames(), {"sounds": [(0, 5, 0, "aac")]}),
        (
            "wrong_hint.wmv",
            even_frames(fps=10),
            {"codec": "wmv2", "hint": 1000, "sounds": [(0, 3, 0, "wmav2")]},
        ),
        ("uneven.mkv", uneven(), {}),
        ("late_pictures.mkv", [t + 1 for t in even_frames()], {"sounds": [(0, 4, 0, "aac")]}),
        (
            "dropped_frames.avi",
            [t for t in even_frames() if t < 1 or t > 1.9],
            {},
        ),  # empty chunks for the others
        ("late_pictures.ts", [t + 1 for t in even_frames()], {"sounds": [(0, 4, 0, "aac")]}),
    ],
)
def test_whole_files_miss_nothing(tmp_path, name, times, options):
    path = make_clip(tmp_path / name, times, **options)
    with VideoReader(path) as reader:
        count = len(list(reader))
        assert reader.num_missing == 0
        assert not reader.is_cut
        assert reader.num_frames == count == sum(time > -0.001 for time in times)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mp4", "a.flv", "a.wmv"])
def test_a_cut_end_is_noticed(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    options = {"movflags": "faststart"} if name == "a.mp4" else {}
    codec = {"a.flv": "flv", "a.wmv": "wmv2"}.get(name, "mpeg4")
    path = make_clip(tmp_path / name, even_frames(4), codec=codec, noise=noise, **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with VideoReader(path) as reader:
        count = len(list(reader))
        assert 40 < count < 80
        assert count + reader.num_missing == pytest.approx(120, abs=2)
        assert reader.num_frames == pytest.approx(120, abs=2)


@pytest.mark.parametrize("name", ["a.ts", "a.wmv", "a.avi"])
def test_a_file_that_lacks_its_last_bytes_is_cut(tmp_path, name):
    codec = "wmv2" if name == "a.wmv" else "mpeg4"
    path = make_clip(tmp_path / name, even_frames(2), codec=codec, sounds=[(0, 2, 0, "libmp3lame")])
    content = path.read_bytes()
    with VideoReader(path) as reader:
        assert not reader.is_cut
    for kept in (len(content) // 2, len(content) - 40):
        path.write_bytes(content[: kept // 2 * 2 + 1])
        with VideoReader(path) as reader:
            assert len(list(reader)) <= 60
            assert reader.is_cut


@pytest.mark.parametrize(
    ("name", "times", "expected"),
    [
        ("a.mkv", [0, 0.1, 0.25, 0.3], [0, 0.1, 0.25, 0.3]),  # a variable rate, as in phone videos
        ("a.mkv", [0.5, 0.6, 0.75, 0.8], [0, 0.1, 0.25, 0.3]),  # the pictures begin late
        ("a.avi", [0, 0.1, 0.2, 0.3], [0, 0.1, 0.2, 0.3]),
    ],
)
def test_times_are_those_of_the_file_since_the_first_frame(tmp_path, name, times, expected):
    path = make_clip(tmp_path / name, times, hint=10)
    with VideoReader(path) as reader:
        assert [time for _, time in reader] == pytest.approx(expected)
    with VideoReader(path) as reader:
        reader.skip(2)
        assert [time for _, time in reader] == pytest.approx(expected[2:])
    with VideoReader(path, fps=20) as reader:  # the file's rate is wrong, and so are its times
        assert reader.fps == 20
        assert [time for _, time in reader] == pytest.approx([0, 0.05, 0.1, 0.15])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_video_that_was_turned_comes_upright(tmp_path, degrees):
    """The matrix in the header is written over: PyAV cannot write one."""
    path = tmp_path / "a.mp4"
    with VideoWriter(path, fps=10) as writer:
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[:, :16] = 255  # the left is white
        writer.write(frame)
    one = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]  # clockwise
    a, b, c, d = (value * 65536 for value in one)
    content = bytearray(path.read_bytes())
    plain = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    at = content.index(plain, content.index(b"tkhd"))
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    with VideoReader(path) as reader:
        assert reader.size_wh == ((64, 48) if degrees == 180 else (48, 64))
        ((image, _),) = reader
    assert image.shape[1::-1] == reader.size_wh
    side = {90: image[:12], 180: image[:, -12:], 270: image[-12:]}[degrees]
    assert side.mean() > 230
    assert image.mean() < 80


def test_a_file_with_sound_only_is_named(tmp_path):
    path = tmp_path / "only.mp4"
    with av.open(str(path), "w") as file:
        track = file.add_stream("aac", rate=48000)
        track.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        file.mux([*track.encode(frame), *track.encode(None)])
    with pytest.raises(VideoError, match="is not a readable video: it has no pictures"):
        list(VideoReader(path))


def test_without_pyav_it_says_what_to_install(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "a.mp4", [0, 0.1])
    monkeypatch.setitem(sys.modules, "av", None)
    for do in (lambda: VideoReader(path), lambda: VideoWriter(tmp_path / "b.mp4", 10)):
        with pytest.raises(VideoError, match="run `pip install av`"):
            do()


FULL = """
import resource, sys
import numpy as np
from ehrpose.media import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a full disk
noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
with VideoWriter(sys.argv[1], 25) as writer:
    for i in range(90):
        writer.write(np.roll(noise, i, 1))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_full_disk_ends_the_writing(tmp_path, root, suffix):
    path = os.pathsep.join([str(root), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", FULL, f"a{suffix}"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": path, "PATH": ""},
    )  # fmt: skip
    assert f"a{suffix} could not be written: File too large" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
