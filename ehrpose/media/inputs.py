"""What people are looked for in: photos, folders, globs, arrays, videos and cameras, all as a stream of frames."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.image_io import ImageReadError, read_image
from ehrpose.media.video import VIDEO_SUFFIXES, VideoError, VideoReader

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CAMERA = "webcam"


@dataclass
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8 BGR; None where the file could not be read.
        name: Name for what is written of it, without folder and suffix; no two frames of a source share one.
        path: File that it comes from; None for arrays and cameras.
        index: Its number in the source, from 0.
        timestamp: Seconds since the source's start; None for photos.
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
        kind: ``"images"``, ``"video"`` or ``"camera"``.
        name: Name of the video or camera, for what is written of it.
        num_frames: How many there are, as far as is known; None for cameras.
        fps: Frames a second; None for photos.
        video: The open video or camera; None for photos.
    """

    def __init__(self, photos: Sequence[Any] = (), video: VideoReader | None = None):
        self.photos, self.video = list(photos), video
        self.kind = "images" if video is None else "camera" if video.is_camera else "video"
        self.name = "" if video is None else video.name
        self.num_frames = len(self.photos) if video is None else video.num_frames
        self.fps = None if video is None else video.fps

    def paths(self) -> list[Path]:
        """Return the files that the frames come from."""
        if self.video is not None:
            return [] if self.video.path is None else [self.video.path]
        return [photo for photo in self.photos if isinstance(photo, Path)]

    def __iter__(self) -> Iterator[Frame]:
        if self.video is not None:
            for index, (image, timestamp) in enumerate(self.video):
                yield Frame(image, f"{index:06d}", index, self.video.path, timestamp)
            return
        names = _unique_names(self.photos)
        for index, (photo, name) in enumerate(zip(self.photos, names)):
            if isinstance(photo, np.ndarray):
                yield Frame(photo, name, index)
                continue
            try:
                yield Frame(read_image(photo), name, index, photo)
            except ImageReadError as error:
                yield Frame(None, name, index, photo, error=str(error))

    def close(self) -> None:
        """Let go of the video or camera."""
        if self.video is not None:
            self.video.close()

    def __enter__(self) -> InputSource:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def open_inputs(inputs: Any) -> InputSource:
    """Return the frames that ``inputs`` names.

    Args:
        inputs: A photo's or video's file name, a folder of photos, a glob, ``"webcam"`` or ``"webcam:N"``, a
            (H, W, 3) uint8 BGR array, or a list of photos' file names and arrays.

    Raises:
        FileNotFoundError: There is no such file, folder or camera, or no photo in it.
        ValueError: An array is no photo, or a video cannot be opened (VideoError).
    """
    if isinstance(inputs, np.ndarray):
        return InputSource([checked_array(inputs)])
    if isinstance(inputs, (list, tuple)):
        if not inputs:
            raise ValueError("got an empty list, wanted photos")
        return InputSource([checked_array(p) if isinstance(p, np.ndarray) else _photo(p) for p in inputs])
    if not isinstance(inputs, (str, Path)):
        raise ValueError(
            f"inputs must be a file name, folder, glob, array, list or 'webcam:N', got {type(inputs).__name__}"
        )
    text = str(inputs)
    if text == CAMERA or text.startswith(f"{CAMERA}:"):
        return InputSource(video=VideoReader(_camera_number(text)))
    if "://" in text:
        raise ValueError(f"{text} is an address: download it first and give the file's name")
    if Path(text).is_file() and Path(text).suffix.lower() in VIDEO_SUFFIXES:
        return InputSource(video=VideoReader(text))
    return InputSource(list_images(text))


def checked_array(photo: np.ndarray) -> np.ndarray:
    """Return ``photo`` if it is a (H, W, 3) uint8 array with pixels; else raise ValueError."""
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise ValueError(f"a photo must be a (H, W, 3) uint8 BGR array, got {photo.shape} {photo.dtype}")
    return photo


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


def _unique_names(photos: Sequence[Any]) -> list[str]:
    """Return a name per photo: its stem where no other has it, else with its suffix, else with its number."""
    stems = [photo.stem if isinstance(photo, Path) else f"{i:06d}" for i, photo in enumerate(photos)]
    names = [p.name if isinstance(p, Path) and stems.count(s) > 1 else s for p, s in zip(photos, stems)]
    counts = {name: names.count(name) for name in names}
    return [name if counts[name] == 1 else f"{i:06d}_{name}" for i, name in enumerate(names)]
