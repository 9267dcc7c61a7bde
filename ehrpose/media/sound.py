"""The sound of a video that was read goes into the one that was written, by the program ffmpeg."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

# Of suffix: what sound is turned into where the container cannot hold the source's own.
_ENCODERS = {".avi": "libmp3lame"}
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
    """Put the sound of ``source`` into ``target``, whole or not at all; pictures and sound are copied as they are.

    Sound that the container cannot hold is encoded anew.

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
    beside = target.with_name(f".{target.stem}.sound{target.suffix}")
    part = ["-ss", f"{start:.3f}"] + ([] if seconds is None else ["-t", f"{seconds:.3f}"])
    streams = ["-map", "0:v:0", "-map", "1:a", "-c:v", "copy", "-map_metadata", "1"]
    command = [ffmpeg, "-v", "error", "-nostdin", "-y", "-i", str(target), *part, "-i", str(source), *streams]
    reason = ""
    try:
        for encoder in ("copy", _ENCODERS.get(target.suffix.lower(), "aac")):
            done = subprocess.run(
                [*command, "-c:a", encoder, str(beside)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                start_new_session=True,  # a Ctrl-C in the terminal is not for it
            )
            if done.returncode == 0:
                beside.replace(target)
                return True
            reason = " ".join(done.stderr.decode(errors="replace").split())[-_MAX_REASON:]
    finally:
        beside.unlink(missing_ok=True)
    raise SoundError(f"ffmpeg could not add the sound of {source}: {reason}")
