"""Videos of any size, length, rate and format are read as they were written; damaged ones give one form of error."""

from __future__ import annotations

import numpy as np
import pytest
from clips import flash_and_beep, make_clip, picture, tracks_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ehrpose.media import Outputs, VideoError, VideoReader, VideoWriter, open_inputs

# Files are made again in one folder for every example.
SETTINGS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WRITERS = [(".mp4", None), (".mov", None), (".m4v", None), (".mkv", None), (".avi", None), (".mov", "MJPG"),
           (".mp4", "avc1"), (".mkv", "FFV1"), (".mkv", "VP80"), (".avi", "XVID")]  # fmt: skip
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
RATES = st.sampled_from([1, 7.5, 10, 24000 / 1001, 25, 30000 / 1001, 50, 120]) | st.floats(1, 240)
GAPS = st.lists(st.integers(5, 900), max_size=8)  # ms between frames


def levels(count):
    """Grey levels that can be told apart after encoding."""
    return [30 + 24 * i for i in range(count)]


@SETTINGS
@given(kind=st.sampled_from(WRITERS), size_wh=SIZES, count=st.integers(1, 9), fps=RATES)
def test_evenly_spaced_frames(tmp_path, kind, size_wh, count, fps):
    path = tmp_path / f"a{kind[0]}"
    with VideoWriter(path, fps, kind[1]) as writer:
        for level in levels(count):
            writer.write(picture(level, size_wh))
    check_frames(path, size_wh, [i / fps for i in range(count)])
    with VideoReader(path) as reader:
        assert reader.fps == pytest.approx(fps, rel=0.02)
        assert reader.steady


@SETTINGS
@given(kind=st.sampled_from([k for k in WRITERS if k[0] != ".avi"]), size_wh=SIZES, gaps=GAPS, fps=RATES)
def test_frames_at_their_own_times(tmp_path, kind, size_wh, gaps, fps):
    path, times = tmp_path / f"a{kind[0]}", np.cumsum([0, *gaps]) / 1000
    with VideoWriter(path, fps, kind[1], steady=False) as writer:
        for level, time in zip(levels(len(times)), times):
            writer.write(picture(level, size_wh), time)
    check_frames(path, size_wh, times)


def check_frames(path, size_wh, times):
    with VideoReader(path) as reader:
        read = list(reader)
        assert reader.size_wh == size_wh
        assert reader.num_frames == len(read) == len(times)
        assert reader.num_missing == 0
    assert [time for _, time in read] == pytest.approx(list(times), abs=0.0021)
    for (image, _), level in zip(read, levels(len(times))):
        assert image.shape == (size_wh[1], size_wh[0], 3)
        assert abs(image.mean() - level) < 12


TENTHS = st.integers(0, 12).map(lambda number: number / 10)


@settings(SETTINGS, max_examples=15)
@given(
    old=st.sampled_from(["old.mp4", "old.mkv", "old.mov", "old.ts"]),
    new=st.sampled_from(["new.mp4", "new.mkv", "new.mov", "new.avi"]),
    starts=st.tuples(TENTHS, TENTHS),
    flash=st.integers(15, 20).map(lambda number: number / 10),
    skip=st.integers(0, 2),
)
def test_sound_stays_where_it_was_seen(tmp_path, old, new, starts, flash, skip):
    pictures_from, sound_from = starts
    times = [pictures_from + i / 10 for i in range(round(10 * (2.6 - pictures_from)))]
    source = make_clip(tmp_path / old, times, flash=flash, sounds=[(sound_from, 2.6, flash, "aac")])
    with open_inputs(source) as inputs, Outputs(inputs, out_file=tmp_path / new) as outputs:
        inputs.video.skip(skip)
        for frame in inputs:
            outputs.draw(frame, lambda image=frame.image: image)
    seen, heard = flash_and_beep(tmp_path / new)
    assert seen == pytest.approx(flash - pictures_from - skip / 10, abs=0.002)
    assert heard == pytest.approx(seen, abs=0.035)
    assert tracks_of(tmp_path / new) == [pytest.approx(2.6 - pictures_from - skip / 10, abs=0.07)]
    with VideoReader(tmp_path / new) as reader:
        assert len(list(reader)) == reader.num_frames == len(times) - skip


def read_frames(path):
    """Return the number of frames, or the message of the one error."""
    try:
        with VideoReader(path) as reader:
            sizes = {image.shape for image, _ in reader}
            assert len(sizes) == 1
            return reader.num_read
    except VideoError as error:
        message = str(error)
        assert message.startswith(str(path))
        assert message.splitlines() == [message]
        return message


CODECS = {".mp4": "mpeg4", ".mkv": "mpeg4", ".avi": "mjpeg", ".webm": "libvpx", ".ts": "mpeg4", ".wmv": "wmv2",
          ".flv": "flv"}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a video in each format, its index first."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for suffix, codec in CODECS.items():
        options = {"movflags": "faststart"} if suffix == ".mp4" else {}
        times = [i / 25 for i in range(12)]
        path = make_clip(folder / f"a{suffix}", times, hint=25, codec=codec, noise=noise, **options)
        found[suffix] = path.read_bytes()
    return found


@settings(SETTINGS, max_examples=120)
@given(
    suffix=st.sampled_from(list(CODECS)),
    at=st.floats(0, 1),
    junk=st.binary(max_size=8),
    what=st.sampled_from(["cut", "replaced", "inserted", "removed"]),
)
@example(suffix=".mp4", at=0, junk=b"", what="cut")
def test_damaged_videos_give_frames_or_one_error(tmp_path, whole, suffix, at, junk, what):
    data = whole[suffix]
    if what != "cut":  # a size in the header that is damaged would only fill the memory
        at = (1 + at) / 2
    place = int(at * len(data))
    rest = {"cut": b"", "replaced": junk + data[place + len(junk) :], "inserted": junk + data[place:],
            "removed": data[place + len(junk) :]}  # fmt: skip
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data[:place] + rest[what])
    read_frames(path)


@settings(SETTINGS, max_examples=40)
@given(suffix=st.sampled_from(list(CODECS)), content=st.binary(max_size=40))
def test_what_is_not_a_video_gives_one_error(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert isinstance(read_frames(path), str)
