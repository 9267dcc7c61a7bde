"""People in the newest pictures of several streams, found by one network (no torch)."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, List, Mapping, Optional, Sequence, Union

import cv2
import numpy as np

from ehrpose.inferencers.options import DrawOptions, OutputOptions, check_count, check_number, group_options
from ehrpose.inferencers.pictures import canvas_of, draw_found
from ehrpose.inferencers.writing import best_people, open_writers, results_of
from ehrpose.media.inputs import Frame, InputSource
from ehrpose.media.live import LiveFrame, LiveOptions, LiveSource, LiveSources, parse_sources
from ehrpose.media.live.source import Tell
from ehrpose.media.outputs import Outputs
from ehrpose.media.stopping import StopRequest
from ehrpose.people_json import people_to_dicts
from ehrpose.results.results import Results
from ehrpose.structures import People
from ehrpose.tracking.open_tracker import open_tracker

if TYPE_CHECKING:
    from ehrpose.inferencers.inferencer import PoseInferencer

# A written video leaves out breaks of a stream that are longer than this, seconds.
_MAX_BREAK = 2.0
# Frames per second of a written video are at most this; streams state higher ones than they have.
_MAX_FPS = 60.0


@dataclass(frozen=True)
class StreamResult:
    """The people in a picture of a source.

    Attributes:
        source: The source's name.
        results: The people; ``frame`` is the picture's number in the source, ``time`` seconds since its first.
        arrived: When the picture's data came, seconds since 1970, UTC.
        latency: From then until its people were known, seconds.
        image: The picture, (H, W, 3) uint8 BGR.
        picture: The picture with its people drawn, if that was asked for.
    """

    source: str
    results: Results
    arrived: float
    latency: float
    image: np.ndarray
    picture: Optional[np.ndarray] = None

    def to_dict(self) -> Dict[str, Any]:
        """Return a line of the output: ``source``, ``arrived``, ``latency_ms`` and ``Results.to_dict``."""
        return {
            "source": self.source,
            "arrived": round(self.arrived, 3),
            "latency_ms": round(1000 * self.latency, 1),
            **self.results.to_dict(),
        }


def watch(
    inferencer: PoseInferencer,
    sources: Union[str, Sequence[str], LiveSources],
    batch_size: int = 1,
    *,
    bbox_thr: float = 0.1,
    num_instances: int = -1,
    max_frames: Optional[int] = None,
    tracker: Union[Mapping[str, Any], bool, None] = None,
    live: Optional[LiveOptions] = None,
    tell: Optional[Tell] = None,
    draw: Optional[DrawOptions] = None,
    write: Optional[OutputOptions] = None,
    **options: Any,
) -> Generator[StreamResult, None, None]:
    """Find people in the newest pictures of sources in turn, until all have ended: ``PoseInferencer.watch``.

    Args:
        inferencer: Has the network.
        sources: Addresses (``rtsp://``, ``http://``, ...), ``"webcam:N"`` and video files, each also as
            ``"NAME=ADDRESS"``; ``"@FILE"`` for the lines of a text file; or a LiveSources.
        batch_size: Maximum number of sources whose pictures share a forward pass.
        bbox_thr: Drop people below this score, 0 to 1.
        num_instances: Maximum number of people per picture, best first; -1 keeps all.
        max_frames: Number of pictures after which a source is closed; None takes all.
        tracker: True, or options of PoseTracker; each source has a tracker of its own.
        live: Time limits of the sources.
        tell: Called with a source, its new state and a sentence about it, from any thread.
        draw: How people are drawn.
        write: What is written, shown and returned; each source has a video and predictions of its own.
        **options: Single fields of ``draw`` and ``write``.

    Yields:
        A StreamResult for each picture: its source, Results and latency.

    Raises:
        TypeError: An option is unknown.
        FileNotFoundError: A file does not exist.
        ValueError: An address cannot be opened by its form, or an argument is out of range.
    """
    draw, write = group_options(options, draw, write)
    check_count("batch_size", batch_size, 1)
    check_count("num_instances", num_instances, -1)
    check_number("bbox_thr", bbox_thr)
    if max_frames is not None:
        check_count("max_frames", max_frames, 1)
    if tracker is not None and not isinstance(tracker, (bool, Mapping)):
        raise ValueError("expected the tracker as True or options: each source has a tracker of its own")
    if isinstance(tracker, Mapping) and tracker.get("smoothing") == "offline":
        raise ValueError("offline smoothing is for recorded videos: expected none with streams")
    if not isinstance(sources, LiveSources):
        sources = LiveSources(parse_sources([sources] if isinstance(sources, str) else sources), live, tell)
    if len(sources.sources) > 1 and write.out_file is not None:
        raise ValueError(
            f"`out_file` is one video, but there are {len(sources.sources)} sources: give a folder as `out_dir`"
        )
    if write.show:
        from ehrpose.media.window import check_window

        check_window()
    choose = partial(best_people, min_score=bbox_thr, most=num_instances)
    inferencer.failed, inferencer.written = [], []
    return _results(inferencer, sources, batch_size, choose, max_frames, tracker, draw, write)


def _results(
    inferencer: PoseInferencer,
    sources: LiveSources,
    batch_size: int,
    choose: Callable[[People], People],
    max_frames: Optional[int],
    tracker: Union[Mapping[str, Any], bool, None],
    draw: DrawOptions,
    write: OutputOptions,
) -> Generator[StreamResult, None, None]:
    several = len(sources.sources) > 1
    with sources, ExitStack() as opened:
        seats: Dict[str, _Seat] = {}
        while True:
            frames = sources.take(batch_size, StopRequest.is_pending)
            if not frames:
                return
            images = [frame.image() for frame in frames]
            found: List[People] = inferencer.predictor.predict(images)
            for frame, image, people in zip(frames, images, map(choose, found)):
                source = frame.source
                if source.name not in seats:
                    seats[source.name] = seat = _Seat(
                        inferencer.predictor, source, tracker, draw, write, several
                    )
                    opened.callback(inferencer.written.extend, seat.outputs.written)
                    opened.enter_context(seat.outputs)
                seat = seats[source.name]
                result = seat.result(frame, image, people)
                if max_frames is not None and source.stats.frames >= max_frames:
                    source.close()
                if result is None:
                    return
                yield result


class _Seat:
    """What a source has of its own: tracker, files and window."""

    def __init__(
        self,
        predictor: Any,
        source: LiveSource,
        tracker: Union[Mapping[str, Any], bool, None],
        draw: DrawOptions,
        write: OutputOptions,
        several: bool,
    ):
        self._predictor, self._draw, self._write = predictor, draw, write
        self._stats = source.stats
        self._input = InputSource(fps=min(source.fps, _MAX_FPS), name=source.name)
        self._input.kind = "camera"
        self._tracker = open_tracker(tracker, predictor.meta, self._input.fps)
        self._title = f"ehrpose: {source.name}" if several else "ehrpose"
        self._size_wh: Optional[Sequence[int]] = None
        self._last, self._clock = 0.0, 0.0
        self.outputs = Outputs(
            self._input, write.picture_folder, write.json_folder, write.out_file, write.video_codec, False,
            *open_writers(self._input, write),
        )  # fmt: skip

    def result(self, frame: LiveFrame, image: np.ndarray, people: People) -> Optional[StreamResult]:
        """Return the result of a picture, written and drawn; None once its window was closed."""
        meta, ids = self._predictor.meta, None
        if self._tracker is not None:
            people, ids = self._tracker.update(people, frame.time)
        latency = time.monotonic() - frame.arrived
        self._stats.add(latency, len(people))
        place = Frame(image, f"{frame.index:06d}", frame.index, timestamp=frame.time)
        found = results_of(place, people, ids, meta, self._input)
        self.outputs.add(place, people_to_dicts(people, track_ids=ids), found)
        result = StreamResult(frame.source.name, found, frame.unix_time, latency, image)
        if not self._write.draws:
            return result
        canvas = canvas_of(self._predictor, image, self._draw)
        note = f"{self._stats.fps:.1f} fps, {1000 * latency:.0f} ms" if self._draw.show_fps else None
        drawn = self.outputs.draw(
            self._in_video(place), partial(self._paint, canvas, people, ids, meta, note), found
        )
        if self._write.return_vis:
            result = replace(result, picture=drawn.result())
        if self._write.show:
            from ehrpose.media.window import show_picture

            if not show_picture(drawn.result(), self._write.wait_time, self._title):
                return None
        return result

    def _paint(
        self, canvas: np.ndarray, people: People, ids: Any, meta: Any, note: Optional[str]
    ) -> np.ndarray:
        """Return the drawn picture, in the size of the source's first one: a video has only one size."""
        picture = draw_found(canvas, people, ids, meta, self._draw, note)
        size_wh = (picture.shape[1], picture.shape[0])
        if self._size_wh is None:
            self._size_wh = size_wh
        return picture if size_wh == self._size_wh else fitted(picture, self._size_wh)

    def _in_video(self, frame: Frame) -> Frame:
        """Return the frame at its time in the written video, which leaves out long breaks."""
        assert frame.timestamp is not None
        assert self._input.fps is not None
        step = max(0.0, frame.timestamp - self._last)
        self._clock += step if step <= _MAX_BREAK else 1 / self._input.fps
        self._last = frame.timestamp
        return replace(frame, timestamp=self._clock)


def fitted(picture: np.ndarray, size_wh: Sequence[int]) -> np.ndarray:
    """Return a picture scaled into another size, with black bars where the shapes differ.

    Args:
        picture: (H, W, 3) uint8 BGR.
        size_wh: Width and height, px.
    """
    width, height = size_wh
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    whole = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        picture, inner, interpolation=cv2.INTER_AREA
    )
    return whole
