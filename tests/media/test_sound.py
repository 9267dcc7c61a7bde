from __future__ import annotations

import pytest
from clips import flash_and_beep, make_clip, tracks_of

from ehrpose.media import Outputs, open_inputs


def copy(source, target, skip=0, frames=None, **options):
    """Write the frames of a video as the inferencer does."""
    with open_inputs(source) as inputs, Outputs(inputs, out_file=target, **options) as outputs:
        inputs.video.skip(skip)
        for frame in list(inputs)[:frames]:
            outputs.draw(frame, lambda image=frame.image: image)
    return target


def even(start, end, fps=10):
    return [start + i / fps for i in range(round((end - start) * fps))]


@pytest.mark.parametrize(
    ("suffix", "pictures_from", "sound_from"),
    [
        (".mp4", 0, 0),
        (".mp4", 0.5, 0),
        (".mp4", 2, 0),
        (".mov", 1.2, 0),
        (".mkv", 0.5, 0),
        (".mkv", 0, 0.5),
        (".ts", 0.5, 0.5),
        (".ts", 1, 0),
    ],
)
@pytest.mark.parametrize(("target", "skip"), [("new.mp4", 0), ("new.mkv", 3), ("new.avi", 0), ("new.avi", 3)])
def test_what_was_seen_and_heard_at_once_still_is(tmp_path, suffix, pictures_from, sound_from, target, skip):
    source = make_clip(
        tmp_path / f"old{suffix}", even(pictures_from, 4), sounds=[(sound_from, 4, 2.6, "aac")], flash=2.6
    )
    seen, heard = flash_and_beep(source)
    assert heard == pytest.approx(seen, abs=0.03)
    written = copy(source, tmp_path / target, skip)
    seen, heard = flash_and_beep(written)
    assert seen == pytest.approx(2.6 - pictures_from - skip / 10, abs=0.002)
    assert heard == pytest.approx(seen, abs=0.03)
    assert tracks_of(written) == [pytest.approx(4 - pictures_from - skip / 10, abs=0.07)]


def test_sound_ends_with_the_written_frames(tmp_path):
    source = make_clip(tmp_path / "old.mp4", even(0, 4), sounds=[(0, 4, 1, "aac")])
    assert tracks_of(copy(source, tmp_path / "new.mp4", skip=5, frames=20)) == [pytest.approx(2, abs=0.05)]


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "flac", "libopus", "pcm_s24le", "ac3"])
@pytest.mark.parametrize("target", ["new.mp4", "new.mov", "new.mkv", "new.avi"])
def test_every_kind_of_sound_goes_into_every_format(tmp_path, capfd, codec, target):
    source = make_clip(tmp_path / "old.mkv", even(0, 2), sounds=[(0, 2, 1, codec)], flash=1)
    seen, heard = flash_and_beep(copy(source, tmp_path / target))
    assert heard == pytest.approx(seen, abs=0.04)
    assert capfd.readouterr().err == ""


def spoil(path, number):
    """Give one sound track of an .mp4 a format that nobody knows."""
    content, at = bytearray(path.read_bytes()), -1
    for _ in range(number):
        at = content.index(b"mp4a\0", at + 1)
    content[at : at + 4] = b"qqqq"
    codec = content.index(b"esds", at)
    content[codec : codec + 4] = b"qqqq"
    path.write_bytes(content)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("target", ["new.mp4", "new.avi"])
def test_an_unknown_track_leaves_the_others(tmp_path, capfd, number, target):
    source = make_clip(tmp_path / "old.mp4", even(0, 2), sounds=[(0, 2, 1, "aac"), (0, 2, 1, "aac")], flash=1)
    spoil(source, number)
    written = copy(source, tmp_path / target)
    assert tracks_of(written) == [pytest.approx(2, abs=0.06)]
    assert f"{target}: sound track {number} is left out: its format is unknown" in capfd.readouterr().err
    seen, heard = flash_and_beep(written)
    assert heard == pytest.approx(seen, abs=0.03)


def test_videos_without_sound_stay_so(tmp_path):
    silent = make_clip(tmp_path / "silent.mp4", even(0, 1))
    loud = make_clip(tmp_path / "loud.mp4", even(0, 1), sounds=[(0, 1, 0, "aac")])
    assert tracks_of(copy(silent, tmp_path / "a.mp4")) == []
    assert tracks_of(copy(loud, tmp_path / "b.mp4", keep_sound=False)) == []
