"""Inputs: photos, folders, globs, arrays, videos and cameras, all as a stream of frames."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.image_io import IMAGE_SUFFIXES, ImageReadError, check_image, read_image
from ehrpose.media.video import VIDEO_SUFFIXES, VideoError, VideoReader

CAMERA = "webcam"
# Maximum number of files to name of those in a folder that are passed over.
_NAMED = 5
# Name of an image sequence that has no folder to be named after.
_SEQUENCE = "sequence"


@dataclass
class Frame:
    """One image of a source.

    Attributes:
        image: (H, W, 3) uint8 BGR; None if the file could not be read.
        name: Name for output files, without folder and suffix; unique within a source.
        path: File it comes from; None for arrays and cameras.
        index: Index in the source, from 0.
        timestamp: Seconds since the source's start, from the video's own timestamps; None for photos.
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
        kind: ``"images"``, ``"video"`` (a file or an image sequence) or ``"camera"``.
        name: Name of the video or camera, for output files.
        num_frames: Number of frames; None if unknown, and for cameras.
        fps: Frames per second; None for photos.
        video: The open video or camera; None for photos and image sequences.
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
        self.photos, self.video, self._given_fps = list(photos), video, fps
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

    def again(self) -> InputSource:
        """Return a new source of the same frames, from the first one.

        Raises:
            ValueError: This is a camera.
            VideoError: The video cannot be opened any more.
        """
        if self.video is None:
            return InputSource(self.photos, fps=self._given_fps, name=self.name)
        if self.video.path is None:
            raise ValueError("expected a recorded video or photos, got a camera, whose frames pass once")
        return InputSource(video=VideoReader(self.video.path, self._given_fps), fps=self._given_fps)

    def close(self) -> None:
        """Release the video or camera."""
        if self.video is not None:
            self.video.close()

    def __enter__(self) -> InputSource:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def open_inputs(inputs: Any, fps: float | None = None) -> InputSource:
    """Return ``inputs`` as a stream of frames.

    Args:
        inputs: A photo's or video's file name, a folder of photos, a glob, ``"webcam"`` or ``"webcam:N"``, a
            (H, W, 3) uint8 BGR array, a list of photos' file names and arrays, or an InputSource, returned as it is.
        fps: Treat photos as the frames of a video at this rate, in the order of the numbers in their names; for a
            video or camera, overrides its stated rate. None keeps photos as photos.

    Raises:
        FileNotFoundError: No file, folder or glob match is found, or no photo in the folder.
        ValueError: An array is not an image, ``fps`` is out of range, or a video or camera cannot be opened
                (VideoError).
    """
    if isinstance(inputs, InputSource):
        return inputs
    if isinstance(inputs, np.ndarray):
        return InputSource([check_image(inputs)], fps=fps, name=_SEQUENCE)
    if isinstance(inputs, (list, tuple)):
        if not inputs:
            raise ValueError("expected photos, got an empty list")
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
        from ehrpose.media.live.addresses import SCHEMES, mask

        scheme = text.partition("://")[0].lower()
        hint = (
            "PoseInferencer.watch or ehrpose predict reads it" if scheme in SCHEMES else "download it first"
        )
        raise ValueError(f"{mask(text)} is an address: {hint}")
    if Path(text).is_file() and Path(text).suffix.lower() in VIDEO_SUFFIXES:
        return InputSource(video=VideoReader(text, fps), fps=fps)
    found = list_images(text)
    if fps is None:
        return InputSource(found)
    folder = found[0].resolve().parent.name
    return InputSource(sorted(found, key=_by_numbers), fps=fps, name=folder or _SEQUENCE)


def list_images(path: str | Path) -> list[Path]:
    """Return the photos that ``path`` names: a file, a folder's photos, or a glob's matches, sorted.

    Of a folder, files with the suffix of a photo are taken. One line on stderr counts and names what is passed over:
    other files, and folders inside; hidden files are not mentioned.

    Raises:
        FileNotFoundError: No photo is found.
    """
    text = str(path)
    if Path(text).is_file():
        return [Path(text)]
    if Path(text).is_dir():
        visible = [p for p in sorted(Path(text).iterdir()) if not p.name.startswith(".")]
        found = [p for p in visible if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES]
        taken = set(found)
        others = [p for p in visible if p not in taken]
        if not found:
            reason = f"no photos ({', '.join(IMAGE_SUFFIXES)}) in the folder {text}"
            raise FileNotFoundError(reason + (f", only {names_of_paths(others)}" if others else ""))
        if others:
            what = (
                "1 entry that is not a photo"
                if len(others) == 1
                else f"{len(others)} entries that are not photos"
            )
            print(f"{text}: passed over {what}: {names_of_paths(others)}", file=sys.stderr)
        return found
    found = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if Path(name).is_file()]
    if not found:
        raise FileNotFoundError(f"no such image, folder or glob: {text}")
    return found


def names_of_paths(paths: Sequence[Path]) -> str:
    """Return the names of the first few paths, a folder's with a slash, and the number of the others."""
    named = ", ".join(f"{path.name}/" if path.is_dir() else path.name for path in paths[:_NAMED])
    return named if len(paths) <= _NAMED else f"{named} and {len(paths) - _NAMED} more"


def _photo(item: Any) -> Path:
    if not isinstance(item, (str, Path)):
        raise ValueError(f"expected file names and arrays in a list of inputs, got {type(item).__name__}")
    if Path(item).suffix.lower() in VIDEO_SUFFIXES:
        raise VideoError(f"{item} is a video: expected photos in a list; give each video separately")
    return Path(item)


def _camera_number(text: str) -> int:
    number = text[len(CAMERA) + 1 :] or "0"
    if not number.isdigit():
        raise ValueError(f"expected 'webcam:N' with the camera's number, got {text!r}")
    return int(number)


def _by_numbers(path: Path) -> list[tuple[bool, int, str]]:
    """Return a sort key that puts ``frame_2`` before ``frame_10``."""
    parts = re.split(r"(\d+)", path.name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def is_moving(inputs: Any) -> bool:
    """Whether ``inputs`` looks like a video's file name or a camera."""
    text = str(inputs) if isinstance(inputs, (str, Path)) else ""
    return text == CAMERA or text.startswith(f"{CAMERA}:") or Path(text).suffix.lower() in VIDEO_SUFFIXES


def _unique_names(photos: Sequence[Any]) -> list[str]:
    """Return a name per photo: its stem if unique, else with its suffix, else with its index."""
    stems = [photo.stem if isinstance(photo, Path) else f"{i:06d}" for i, photo in enumerate(photos)]
    names = [p.name if isinstance(p, Path) and stems.count(s) > 1 else s for p, s in zip(photos, stems)]
    counts = {name: names.count(name) for name in names}
    return [name if counts[name] == 1 else f"{i:06d}_{name}" for i, name in enumerate(names)]
