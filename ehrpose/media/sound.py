"""The sound of a video that was read goes into the one that was written, by the program ffmpeg."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from ehrpose.files import written_beside

# AVI holds neither AAC nor sound that begins between two packets in time, so its sound is always encoded.
_AVI, _AVI_ENCODER, _ENCODER = ".avi", "libmp3lame", "aac"
# How much of ffmpeg's words goes into a message.
_MAX_REASON = 200


class SoundError(ValueError):
    """The sound could not be copied; the video is as it was."""


def find_ffmpeg() -> str | None:
    """Return the program ffmpeg on the PATH, or None."""
    return shutil.which("ffmpeg")


def has_sound(video: str | Path, ffmpeg: str) -> bool:
    """Whether a video has a sound track."""
    # Without an output ffmpeg lists the streams on stderr and ends with an error.
    told = subprocess.run(
        [ffmpeg, "-hide_banner", "-nostdin", "-i", str(video)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    return re.search(rb"Stream #\d+:\d+.*: Audio:", told.stderr) is not None


def copy_sound(
    target: str | Path, source: str | Path, start: float = 0.0, seconds: float | None = None
) -> bool:
    """Put the sound of ``source`` into ``target``, whole or not at all.

    Pictures are copied as they are, and so is sound that begins at 0 and that the container can hold; other sound is
    encoded anew, for copies begin at a packet that suits the source's pictures.

    Args:
        target: Video whose pictures stay.
        source: Video whose sound is taken.
        start: Where the sound begins, seconds in ``source``.
        seconds: How much of it is taken; None is all.

    Returns:
        Whether there was sound.

    Raises:
        SoundError: There is no ffmpeg, or it fails.
    """
    ffmpeg, target = find_ffmpeg(), Path(target)
    if ffmpeg is None:
        raise SoundError("no program ffmpeg is on the PATH: install it, or leave the sound out")
    if not has_sound(source, ffmpeg):
        return False
    part = ["-ss", f"{start:.3f}"] + ([] if seconds is None else ["-t", f"{seconds:.3f}"])
    streams = ["-map", "0:v:0", "-map", "1:a", "-c:v", "copy", "-map_metadata", "1"]
    command = [ffmpeg, "-v", "error", "-nostdin", "-y", "-i", str(target), *part, "-i", str(source), *streams]
    with written_beside(target) as partial:
        for encoder in _encoders(target.suffix.lower(), start):
            done = subprocess.run(
                [*command, "-c:a", encoder, str(partial)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
            if done.returncode == 0:
                break
        else:
            reason = " ".join(done.stderr.decode(errors="replace").split())[-_MAX_REASON:]
            raise SoundError(f"ffmpeg could not add the sound of {source}: {reason}")
    return True


def _encoders(suffix: str, start: float) -> list[str]:
    """Return what to try, the best first."""
    if suffix == _AVI:
        return [_AVI_ENCODER]
    return ["copy", _ENCODER] if start == 0 else [_ENCODER]
