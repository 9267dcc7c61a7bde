"""Output of a stream of frames: pictures or a video, and JSON files."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ehrpose.file_sets import FileGroup
from ehrpose.growing_file import FrameFile
from ehrpose.media.inputs import Frame, InputSource
from ehrpose.media.sound import Sound
from ehrpose.media.video import VideoError
from ehrpose.media.writer import VideoWriter
from ehrpose.people_json import write_predictions
from ehrpose.visualization.drawing import write_picture

# Maximum number of pictures waiting for the drawing thread.
_MAX_WAITING = 8


def run_name(source: InputSource, out_file: str | Path | None) -> str:
    """Return the name, without suffix, of a file for all frames: that of the drawn video, else the input's."""
    return source.name if out_file is None else Path(out_file).stem


class Outputs:
    """Output files of one source; an error within the ``with`` block leaves no video file.

    On Ctrl-C or when the generator is closed, the output written so far is kept.

    Args:
        source: Where the frames come from; none of its files is overwritten.
        vis_out_dir: Folder for the pictures or the video (.mp4).
        pred_out_dir: Folder for the JSON files.
        out_file: Picture (of a single photo) or video, instead of ``vis_out_dir``.
        codec: FourCC of the video encoder; None takes one that is always available.
        keep_sound: Copy the source's sound into the video.
        writer: A ``results.writers.PredictionWriter``, instead of ``pred_out_dir``.
        gallery: A ``results.gallery.Gallery``.

    Attributes:
        written: Files that are finished.

    Raises:
        ValueError: ``out_file`` is one file for several photos, the video cannot be written, or an output would
            overwrite an input.
    """

    def __init__(
        self,
        source: InputSource,
        vis_out_dir: str | Path | None = None,
        pred_out_dir: str | Path | None = None,
        out_file: str | Path | None = None,
        codec: str | None = None,
        keep_sound: bool = True,
        writer: Any = None,
        gallery: Any = None,
    ):
        self.source, self.keep_sound = source, keep_sound
        self.written: list[Path] = []
        self._vis_dir = None if vis_out_dir is None else Path(vis_out_dir)
        self._pred_dir = None if pred_out_dir is None else Path(pred_out_dir)
        self._out_file = None if out_file is None else Path(out_file)
        self._taken = {path.resolve() for path in source.paths()}
        self._video: VideoWriter | None = None
        self._rows: FrameFile | None = None
        self._start: float | None = None
        self._files = FileGroup()
        self._writer, self._gallery = writer, gallery
        if source.fps is None:
            if self._out_file is not None and len(source.photos) > 1:
                raise ValueError(
                    f"{out_file} is one image, but there are {len(source.photos)} photos: give a folder as `out_dir`"
                )
        else:
            if self._pred_dir is not None:
                self._rows = FrameFile(self._pred_dir / f"{run_name(source, out_file)}.json")
            if self._out_file is not None or self._vis_dir is not None:
                target = self._target(f"{source.name}.mp4")
                steady = source.video is None or source.video.is_camera or source.video.steady
                self._video = VideoWriter(target, source.fps, codec, steady)
        self._painter = ThreadPoolExecutor(1, thread_name_prefix="draw")
        self._waiting: deque[Future[np.ndarray]] = deque()

    def add(self, frame: Frame, people: list[dict[str, Any]], results: Any = None) -> None:
        """Write the people of one frame, as dicts and as Results."""
        if self._writer is not None:
            self._writer.add(results, frame.name)
        elif self._rows is not None:
            seconds = round(frame.timestamp or 0.0, 4)
            self._rows.add({"frame_id": frame.index, "timestamp": seconds, "instances": people})
        elif self._pred_dir is not None:
            path = self._pred_dir / f"{frame.name}.json"
            write_predictions(people, path, self._files)
            self.written.append(path)

    def draw(self, frame: Frame, draw: Callable[[], np.ndarray], results: Any = None) -> Future[np.ndarray]:
        """Draw and write a picture in another thread; an error of an earlier one is raised here.

        Args:
            frame: What the picture shows.
            draw: Returns the (H, W, 3) uint8 BGR picture.
            results: The people on it.

        Returns:
            Future of the picture.
        """
        while len(self._waiting) >= _MAX_WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._painter.submit(self._draw_and_write, frame, draw, results))
        return self._waiting[-1]

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        keeps = kind is None or issubclass(kind, (GeneratorExit, KeyboardInterrupt))
        try:
            if keeps:
                self._finish()
        except BaseException:
            keeps = False
            raise
        finally:
            if not keeps:
                self._abort()

    def _finish(self) -> None:
        while self._waiting:
            self._waiting.popleft().result()
        self._painter.shutdown()
        self._files.settle()
        for part in (self._writer, self._gallery):
            self.written += [] if part is None else part.close()
        if self._video is not None:
            self._video.close()
        if self._rows is not None and self._rows.close():
            self.written.append(self._rows.path)
        if self._video is not None and self._video.num_frames:
            self.written.insert(0, self._video.path)
            self._tell_of_sound(self._video)

    def _abort(self) -> None:
        for future in self._waiting:
            future.cancel()
        self._painter.shutdown()
        with contextlib.suppress(OSError):  # it would hide the error that led here
            self._files.settle()
        for part in (self._writer, self._gallery):
            if part is not None:
                part.abort()
        if self._video is not None:
            self._video.abort()
        if self._rows is not None:
            self._rows.abort()

    def _target(self, name: str) -> Path:
        """Return the path of a picture or video; raise ValueError if it is an input."""
        assert self._out_file is not None or self._vis_dir is not None
        target = self._out_file if self._out_file is not None else self._vis_dir / name  # type: ignore[operator]
        if target.resolve() in self._taken:
            raise ValueError(f"{target} would overwrite its input: choose another folder or name")
        return target

    def _draw_and_write(self, frame: Frame, draw: Callable[[], np.ndarray], results: Any) -> np.ndarray:
        picture = draw()
        if self._gallery is not None:
            self._gallery.add(results, str(frame.path or frame.name), picture)
        if self._video is not None:
            for _ in range(self._copies(frame)):
                self._write(self._video, picture, frame)
        elif self.source.fps is None and (self._out_file is not None or self._vis_dir is not None):
            target = self._target(f"{frame.name}.jpg")
            write_picture(target, picture, group=self._files)
            self.written.append(target)
        return picture

    def _write(self, video: VideoWriter, picture: np.ndarray, frame: Frame) -> None:
        seconds = None
        if self.source.video is not None and not self.source.video.is_camera:
            seconds = (frame.timestamp or 0.0) - (self._start or 0.0)
        try:
            video.write(picture, seconds)
        except VideoError as error:
            if self.source.video is not None:
                raise
            raise VideoError(
                f"{frame.path or frame.name}: {error}"
            ) from error  # name the photo of a sequence

    def _copies(self, frame: Frame) -> int:
        """Return how often to write a frame: once, but for a camera as often as keeps the video in real time."""
        assert self._video is not None
        if self._start is None:
            self._start = frame.timestamp or 0.0
            self._add_sound(self._video)
        if self.source.kind != "camera":
            return 1
        place = round(((frame.timestamp or 0.0) - self._start) * self._video.fps)
        return max(0, place + 1 - self._video.num_frames)

    def _add_sound(self, video: VideoWriter) -> None:
        """Let the video have the sound from its first frame on."""
        source = self.source.video
        if self.keep_sound and source is not None and source.path is not None and source.has_own_time:
            video.sound = Sound(source.path, source.start + (self._start or 0.0), source.joints)

    @staticmethod
    def _tell_of_sound(video: VideoWriter) -> None:
        for line in video.sound.left_out if video.sound is not None else ():
            print(f"{video.path}: {line}", file=sys.stderr)
