"""Recordings that follow each other in one .ts or .mpg file, each with a clock of its own."""

from __future__ import annotations

import pytest
from clips import flash_and_beep, make_clip, tracks_of

from ehrpose.media import Outputs, VideoReader, open_inputs

FPS = 25
LENGTH = 2


def joined(path, *starts):
    """Write recordings of 2 s that begin at given times of their clocks; the last has a flash and a beep after 1 s."""
    codec, sound = {".ts": ("mpeg4", "aac"), ".mpg": ("mpeg2video", "mp2")}[path.suffix]
    content = b""
    for number, start in enumerate(starts, 1):
        piece = path.with_name(f"part{number}{path.suffix}")
        flash = start + 1 if number == len(starts) else None
        times = [start + i / FPS for i in range(LENGTH * FPS)]
        tone = (start, start + LENGTH, start + LENGTH if flash is None else flash, sound)
        make_clip(piece, times, codec=codec, hint=FPS, sounds=[tone], flash=flash)
        content += piece.read_bytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
@pytest.mark.parametrize(
    "starts", [(0, 0, 0), (0, 100, 0), (100, 0, 100), (5000, 0)], ids=["back", "ahead", "both", "far back"]
)
@pytest.mark.parametrize("target", ["new.mp4", "new.avi"])
def test_recordings_follow_each_other(tmp_path, suffix, starts, target):
    source = joined(tmp_path / f"old{suffix}", *starts)
    seconds = LENGTH * len(starts)
    with open_inputs(source) as inputs, Outputs(inputs, out_file=tmp_path / target) as outputs:
        assert inputs.fps == pytest.approx(FPS, rel=0.02)
        assert (inputs.video.num_frames, inputs.video.is_cut) == (FPS * seconds, False)
        times = []
        for frame in inputs:
            times.append(frame.timestamp)
            outputs.draw(frame, lambda image=frame.image: image)
        assert inputs.video.num_missing == 0
    # Where they meet, the longest track decides.
    assert times == pytest.approx([i / FPS for i in range(FPS * seconds)], abs=0.05 * len(starts))
    seen, heard = flash_and_beep(tmp_path / target)
    assert seen == pytest.approx(seconds - LENGTH + 1, abs=0.1)
    assert heard == pytest.approx(seen, abs=0.05)
    assert tracks_of(tmp_path / target) == [pytest.approx(seconds, abs=0.15)]


def test_a_clock_that_goes_round_is_no_joint(tmp_path):
    """That of MPEG has 33 bits of 1/90,000 s."""
    start = (1 << 33) / 90_000 - 3
    times = [start + i / FPS for i in range(4 * FPS)]
    path = make_clip(tmp_path / "a.ts", times, hint=FPS, sounds=[(start, start + 4, start, "aac")])
    with VideoReader(path) as reader:
        assert [time for _, time in reader] == pytest.approx([i / FPS for i in range(4 * FPS)], abs=0.001)
        assert (reader.fps, reader.num_missing, reader.joints) == (FPS, 0, {})


def test_a_pause_within_a_recording_stays(tmp_path):
    times = [i / FPS for i in range(FPS)] + [9 + i / FPS for i in range(FPS)]
    path = make_clip(tmp_path / "a.ts", times, hint=FPS)
    with VideoReader(path) as reader:
        assert [time for _, time in reader] == pytest.approx(times, abs=0.001)
        assert reader.joints == {}
