from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from ehrpose.media import VideoReader, VideoWriter
from ehrpose.media.sound import SoundError, copy_sound, has_sound


@pytest.fixture(scope="module")
def ffmpeg():
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg program is on the PATH")
    return program


def sounding(ffmpeg, path, seconds, codec="aac"):
    """A video whose sound is silent for a second and then a tone."""
    tone = f"aevalsrc='if(lt(t,1),0,0.5*sin(2764*t))':d={seconds}:s=48000"
    picture = f"testsrc=size=64x48:rate=10:duration={seconds}"
    command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone]
    subprocess.run([*command, "-c:v", "mpeg4", "-c:a", codec, str(path)], check=True)
    return path


def silent(path, frames=20):
    with VideoWriter(path, fps=10) as writer:
        for i in range(frames):
            writer.write(np.full((48, 64, 3), 10 * i, np.uint8))
    return path


def samples(ffmpeg, path):
    """The sound as (N,) float32 at 48 kHz."""
    command = [ffmpeg, "-v", "error", "-i", str(path), "-f", "f32le", "-ac", "1", "-ar", "48000", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


@pytest.mark.parametrize(
    ("suffix", "codec", "source"),
    [
        (".mp4", "aac", ".mp4"),
        (".avi", "aac", ".mp4"),
        (".mp4", "pcm_s16le", ".mkv"),
        (".mkv", "aac", ".mp4"),
    ],
)
@pytest.mark.parametrize("start", [0, 0.5])
def test_sound_is_cut_and_goes_into_the_video(ffmpeg, tmp_path, suffix, codec, source, start):
    loud = sounding(ffmpeg, tmp_path / f"loud{source}", 4, codec)
    target = silent(tmp_path / f"new{suffix}")
    assert copy_sound(target, loud, start=start, seconds=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([loud.name, target.name])
    with VideoReader(target) as reader:
        assert len(list(reader)) == 20
    sound = samples(ffmpeg, target)
    assert len(sound) / 48000 == pytest.approx(2, abs=0.15)
    begins = np.flatnonzero(np.abs(sound) > 0.1)[0] / 48000  # the tone begins at 1 s of the source
    assert begins == pytest.approx(1 - start, abs=0.06)


def test_a_video_without_sound_is_left_alone(ffmpeg, tmp_path):
    target, source = silent(tmp_path / "a.mp4"), silent(tmp_path / "b.mp4")
    before = target.read_bytes()
    assert not has_sound(source, ffmpeg)
    assert not copy_sound(target, source)
    assert target.read_bytes() == before


def test_a_failure_leaves_the_video_as_it_was(ffmpeg, tmp_path):
    loud = sounding(ffmpeg, tmp_path / "loud.mp4", 2)
    target = tmp_path / "a.mp4"
    target.write_bytes(b"no video")
    with pytest.raises(SoundError, match="could not add the sound of"):
        copy_sound(target, loud)
    assert target.read_bytes() == b"no video"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "loud.mp4"]


def test_without_the_program_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SoundError, match="ffmpeg is not on the PATH"):
        copy_sound(tmp_path / "a.mp4", tmp_path / "b.mp4")
