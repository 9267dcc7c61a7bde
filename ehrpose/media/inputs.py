"""What people are looked for in: photos, folders, globs, arrays, videos and cameras, all as a stream of frames."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.image_io import ImageReadError, check_image, read_image
from ehrpose.media.video import VIDEO_SUFFIXES, VideoError, VideoReader

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CAMERA = "webcam"
# Name of a video of photos that has no folder to be named after.
_SEQUENCE = "sequence"


@dataclass
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8 BGR; None where the file could not be read.
        name: Name for what is written of it, without folder and suffix; no two frames of a source share one.
        path: File that it comes from; None for arrays and cameras.
        index: Its number in the source, from 0.
        timestamp: Seconds since the source's start, by a video's own clock; None for photos.
        error: Why the file could not be read.
    """

    image: np.ndarray | None
    name: str
    index: int
    path: Path | None = None
    timestamp: float | None = None
    error: str | None = None


class InputSource:
    """A stream of frames; iterate it once.

    Attributes:
        kind: ``"images"``, ``"video"`` (a file, or photos that are its frames) or ``"camera"``.
        name: Name of the video or camera, for what is written of it.
        num_frames: How many there are, as far as is known; None for cameras.
        fps: Frames a second; None for photos.
        video: The open video or camera; None for photos, and for a video of photos.
    """

    def __init__(
        self,
        photos: Sequence[Any] = (),
        video: VideoReader | None = None,
        fps: float | None = None,
        name: str = "",
    ):
        if fps is not None and not 0 < fps < 1000:
            raise ValueError(f"fps must be between 0 and 1000, got {fps}")
        self.photos, self.video = list(photos), video
        self.fps = fps if video is None else video.fps
        if video is not None:
            self.kind = "camera" if video.is_camera else "video"
        else:
            self.kind = "images" if fps is None else "video"
        self.name = name if video is None else video.name
        self.num_frames = len(self.photos) if video is None else video.num_frames

    def paths(self) -> list[Path]:
        """Return the files that the frames come from."""
        if self.video is not None:
            return [] if self.video.path is None else [self.video.path]
        return [photo for photo in self.photos if isinstance(photo, Path)]

    def __iter__(self) -> Iterator[Frame]:
        if self.video is None:
            yield from self._photos()
            return
        first = self.video.num_read
        for index, (image, timestamp) in enumerate(self.video, first):
            yield Frame(image, f"{index:06d}", index, self.video.path, timestamp)

    def _photos(self) -> Iterator[Frame]:
        for index, (photo, name) in enumerate(zip(self.photos, _unique_names(self.photos))):
            path = photo if isinstance(photo, Path) else None
            timestamp = None if self.fps is None else index / self.fps
            try:
                image = photo if path is None else read_image(path)
            except ImageReadError as error:
                yield Frame(None, name, index, path, timestamp, str(error))
                continue
            yield Frame(image, name, index, path, timestamp)

    def close(self) -> None:
        """Let go of the video or camera."""
        if self.video is not None:
            self.video.close()

    def __enter__(self) -> InputSource:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def open_inputs(inputs: Any, fps: float | None = None) -> InputSource:
    """Return the frames that ``inputs`` names.

    Args:
        inputs: A photo's or video's file name, a folder of photos, a glob, ``"webcam"`` or ``"webcam:N"``, a
            (H, W, 3) uint8 BGR array, a list of photos' file names and arrays, or an InputSource, which is returned.
        fps: Take photos as the frames of a video with so many frames a second, in the order of the numbers in their
            names; for a video or camera what is taken instead of its own word. None leaves photos photos.

    Raises:
        FileNotFoundError: There is no such file, folder or camera, or no photo in it.
        ValueError: An array is no photo, ``fps`` is not positive, or a video cannot be opened (VideoError).
    """
    if isinstance(inputs, InputSource):
        return inputs
    if isinstance(inputs, np.ndarray):
        return InputSource([check_image(inputs)], fps=fps, name=_SEQUENCE)
    if isinstance(inputs, (list, tuple)):
        if not inputs:
            raise ValueError("got an empty list, wanted photos")
        photos = [check_image(p) if isinstance(p, np.ndarray) else _photo(p) for p in inputs]
        return InputSource(photos, fps=fps, name=_SEQUENCE)
    if not isinstance(inputs, (str, Path)):
        raise ValueError(
            f"inputs must be a file name, folder, glob, array, list or 'webcam:N', got {type(inputs).__name__}"
        )
    text = str(inputs)
    if text == CAMERA or text.startswith(f"{CAMERA}:"):
        return InputSource(video=VideoReader(_camera_number(text), fps))
    if "://" in text:
        raise ValueError(f"{text} is an address: download it first and give the file's name")
    if Path(text).is_file() and Path(text).suffix.lower() in VIDEO_SUFFIXES:
        return InputSource(video=VideoReader(text, fps))
    found = list_images(text)
    if fps is None:
        return InputSource(found)
    folder = found[0].resolve().parent.name
    return InputSource(sorted(found, key=_by_numbers), fps=fps, name=folder or _SEQUENCE)


def list_images(path: str | Path) -> list[Path]:
    """Return the photos that ``path`` names: a file, a folder's photos, or a glob's matches, sorted.

    Raises:
        FileNotFoundError: There is none.
    """
    text = str(path)
    if Path(text).is_dir():
        visible = (p for p in sorted(Path(text).iterdir()) if p.is_file() and not p.name.startswith("."))
        found = [p for p in visible if p.suffix.lower() in IMAGE_SUFFIXES]
        what = f"no photos ({', '.join(IMAGE_SUFFIXES)}) in the folder {text}"
    elif Path(text).is_file():
        return [Path(text)]
    else:
        found = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if Path(name).is_file()]
        what = f"no photo, folder or glob match: {text}"
    if not found:
        raise FileNotFoundError(what)
    return found


def _photo(item: Any) -> Path:
    if not isinstance(item, (str, Path)):
        raise ValueError(f"a list of inputs holds file names and arrays, got {type(item).__name__}")
    if Path(item).suffix.lower() in VIDEO_SUFFIXES:
        raise VideoError(f"{item}: a list holds photos; give each video by itself")
    return Path(item)


def _camera_number(text: str) -> int:
    number = text[len(CAMERA) + 1 :] or "0"
    if not number.isdigit():
        raise ValueError(f"a camera is written 'webcam:N' with its number, got {text!r}")
    return int(number)


def _by_numbers(path: Path) -> list[tuple[bool, int, str]]:
    """Return a key that puts ``frame_2`` before ``frame_10``."""
    parts = re.split(r"(\d+)", path.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def is_moving(inputs: Any) -> bool:
    """Whether ``inputs`` is written like a video's file name or a camera."""
    text = str(inputs) if isinstance(inputs, (str, Path)) else ""
    return text == CAMERA or text.startswith(f"{CAMERA}:") or Path(text).suffix.lower() in VIDEO_SUFFIXES


def _unique_names(photos: Sequence[Any]) -> list[str]:
    """Return a name per photo: its stem where no other has it, else with its suffix, else with its number."""
    stems = [photo.stem if isinstance(photo, Path) else f"{i:06d}" for i, photo in enumerate(photos)]
    names = [p.name if isinstance(p, Path) and stems.count(s) > 1 else s for p, s in zip(photos, stems)]
    counts = {name: names.count(name) for name in names}
    return [name if counts[name] == 1 else f"{i:06d}_{name}" for i, name in enumerate(names)]
