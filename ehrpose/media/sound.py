"""Copy the sound of the input video into the output video, with ffmpeg."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from ehrpose.files import written_beside

# AVI supports neither AAC nor sound that starts between two packets, so its sound is always re-encoded.
_AVI, _AVI_ENCODER, _ENCODER = ".avi", "libmp3lame", "aac"
# Characters of ffmpeg's output in an error message.
_MAX_REASON = 200


class SoundError(ValueError):
    """The sound could not be copied; the video is as it was."""


def find_ffmpeg() -> str | None:
    """Return the path of ffmpeg, None if it is not on the PATH."""
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
    """Copy the sound of ``source`` into ``target``, atomically.

    Frames are copied without re-encoding, and so is sound that starts at 0 and that the container supports; other sound
    is re-encoded, as a copy would start at a packet aligned with the source's frames.

    Args:
        target: Video whose frames are kept.
        source: Video whose sound is copied.
        start: Start of the sound in ``source``, seconds.
        seconds: Duration to copy; None copies all.

    Returns:
        Whether there was sound.

    Raises:
        SoundError: ffmpeg is not installed, or fails.
    """
    ffmpeg, target = find_ffmpeg(), Path(target)
    if ffmpeg is None:
        raise SoundError("ffmpeg is not on the PATH: install it, or turn off the sound")
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
                start_new_session=True,  # keeps Ctrl-C in the terminal from stopping it
            )
            if done.returncode == 0:
                break
        else:
            reason = " ".join(done.stderr.decode(errors="replace").split())[-_MAX_REASON:]
            raise SoundError(f"ffmpeg could not add the sound of {source}: {reason}")
    return True


def _encoders(suffix: str, start: float) -> list[str]:
    """Return the encoders to try, best first."""
    if suffix == _AVI:
        return [_AVI_ENCODER]
    return ["copy", _ENCODER] if start == 0 else [_ENCODER]
