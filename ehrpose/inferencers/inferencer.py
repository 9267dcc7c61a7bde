"""Photos, folders, videos and cameras in; people, pictures and files out. Names follow MMPose's inferencer."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from ehrpose.counted import counted
from ehrpose.inferencers.options import DrawOptions, OutputOptions, check_count, check_number, group_options
from ehrpose.inferencers.predictors import open_predictor
from ehrpose.people_json import people_to_dicts
from ehrpose.progress import Progress, Rate
from ehrpose.structures import People

if TYPE_CHECKING:  # imported with the first photos, and when people are tracked
    from ehrpose.inferencers.streams import StreamResult
    from ehrpose.inferencers.two_passes import Find
    from ehrpose.media.inputs import Frame, InputSource
    from ehrpose.media.live import LiveSources
    from ehrpose.tracking.open_tracker import Tracker


class PoseInferencer:
    """Find people in photos, videos and cameras; call it and iterate over the results.

    Args:
        pose2d: Name of a zoo model, config file, Config, model from ``init_model``, or exported file
            (``end2end.onnx``, ...), which runs without torch; an object with ``predict`` and ``meta``; or
            ``movenet:FILE.onnx``, a file of another project.
        pose2d_weights: Checkpoint; None takes that of the zoo model.
        device: ``"cpu"``, ``"cuda:0"``, ...; None takes CUDA if available, and for an exported file what its backend
            runs on; another one is refused.
        backend: Backend of an exported file; None takes the one it was exported for.
        cfg_options: Dotted keys with values that override the config's.
        mode: Decoding mode, ``"fast"`` or ``"paper"``; None takes the config's.
        flip_test: Also run the mirrored photo (more accurate, slower); None takes the config's setting.
        letterbox: Side, or width and height, of an input that every photo is fitted into, so that photos of any
            shape can share a batch; None adapts the input's shape to each photo.
        num_threads: CPU threads of the network.
        trust_pt2: Open an exported ``.pt2`` file, which may run any code in it; without, it is refused.

    Attributes:
        predictor: The Predictor that finds the people.
        failed: File name and reason for each photo that the last call could not read.
        written: Files that the last call has written; a video is added once the call is over.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The model cannot be used, or arguments do not fit it.

    Examples:
        >>> inferencer = PoseInferencer("ehrnet-small")
        >>> for result in inferencer("photos/", vis_out_dir="outputs"):
        ...     people = result["predictions"][0]
    """

    def __init__(
        self,
        pose2d: Any = "ehrnet-small",
        pose2d_weights: str | Path | None = None,
        device: str | None = None,
        backend: str | None = None,
        cfg_options: dict[str, Any] | None = None,
        mode: str | None = None,
        flip_test: bool | None = None,
        letterbox: int | Sequence[int] | None = None,
        num_threads: int | None = None,
        trust_pt2: bool = False,
    ):
        self.predictor = open_predictor(
            pose2d,
            pose2d_weights,
            device,
            backend,
            cfg_options=cfg_options,
            mode=mode,
            flip_test=flip_test,
            letterbox=letterbox,
            num_threads=num_threads,
            trust_pt2=trust_pt2,
        )
        self.failed: list[tuple[str, str]] = []
        self.written: list[Path] = []

    def __call__(
        self,
        inputs: Any,
        batch_size: int = 1,
        *,
        bbox_thr: float = 0.1,
        num_instances: int = -1,
        skip: int = 0,
        max_frames: int | None = None,
        fps: float | None = None,
        tracker: Tracker | dict[str, Any] | bool | None = None,
        show_progress: bool = False,
        draw: DrawOptions | None = None,
        write: OutputOptions | None = None,
        **options: Any,
    ) -> Generator[dict[str, Any], None, None]:
        """Find people; unreadable photos are reported, listed in ``failed`` and skipped.

        Reading, inference, drawing and encoding run in parallel threads. A video keeps its sound. If iteration stops
        early, because the generator is closed or by Ctrl-C, the output written so far is kept as complete files; an
        error leaves no video file.

        Args:
            inputs: See ``ehrpose.media.open_inputs``: file, folder, glob, video, array, list, ``"webcam:0"``; an
                InputSource is closed at the end.
            batch_size: Photos per forward pass.
            bbox_thr: Drop people below this score, 0 to 1.
            num_instances: Maximum number of people per photo, best first; -1 keeps all.
            skip: Frames of a video, or photos, to skip at the start.
            max_frames: Maximum number of frames or photos; None takes all.
            fps: Treat photos as the frames of a video at this rate; see ``ehrpose.media.open_inputs``.
            tracker: Track people from frame to frame (videos and cameras): True, options of PoseTracker such as
                ``dict(smoothing={})``, or a tracker. Each person gets a ``track_id`` (-1: not yet tracked), drawn as a
                label, and as a color with ``color_by="id"``. ``dict(smoothing="offline")``, for recorded videos, finds
                everyone first, then smooths with past and future and fills gaps (``OfflineSmoother``).
            show_progress: Show a progress line.
            draw: How people are drawn.
            write: What is written, shown and returned.
            **options: Single fields of ``DrawOptions`` and ``OutputOptions``, as in MMPose: ``kpt_thr=0.5``,
                ``draw_bbox=True``, ``out_dir="outputs"``, ``return_vis=True``. They override those of ``draw`` and
                ``write``.

        Yields:
            A dict per batch: ``model``, the predictor's name (of an exported file also its backend and the precision
            that really ran); ``predictions``, for each photo a list of people (``people_to_dicts``); ``results``, for
            each photo the same as ``Results``;
            ``visualization``, for each photo the (H, W, 3) uint8 BGR picture if requested, else an empty list;
            ``frames``, for each photo its Frame: image, file, index, time.

        Raises:
            TypeError: An option is unknown.
            FileNotFoundError: The input is not found.
            ValueError: An argument is out of range, nothing is left after ``skip``, an output would overwrite an
                input, or a video cannot be written (VideoError).
        """
        from ehrpose.inferencers.writing import best_people
        from ehrpose.media.inputs import open_inputs

        draw, write = group_options(options, draw, write, others=_ARGUMENTS)
        check_count("batch_size", batch_size, 1)
        check_count("skip", skip, 0)
        check_count("num_instances", num_instances, -1)
        check_number("bbox_thr", bbox_thr)
        if max_frames is not None:
            check_count("max_frames", max_frames, 1)
        if write.show:
            from ehrpose.media.window import check_window

            check_window()
        read = partial(
            _batches, batch_size=batch_size, skip=skip, max_frames=max_frames, show_progress=show_progress
        )
        choose = partial(best_people, min_score=bbox_thr, most=num_instances)
        return self._results(partial(open_inputs, inputs, fps), read, choose, tracker, draw, write)

    def _results(
        self,
        open_source: Callable[[], InputSource],
        read: Callable[..., Iterator[list[Frame]]],
        choose: Callable[[People], People],
        tracker: Tracker | dict[str, Any] | bool | None,
        draw: DrawOptions,
        write: OutputOptions,
    ) -> Generator[dict[str, Any], None, None]:
        """Yield the results of ``__call__``; nothing is opened before the first one is requested."""
        from ehrpose.inferencers.pictures import canvas_of, draw_found
        from ehrpose.inferencers.writing import open_writers, results_of
        from ehrpose.media.outputs import Outputs

        self.failed, self.written = [], []
        rate = Rate() if write.draws and draw.show_fps else None
        with open_source() as source, Outputs(
            source, write.picture_folder, write.json_folder, write.out_file, write.video_codec, write.keep_sound,
            *open_writers(source, write),
        ) as outputs:  # fmt: skip
            self.written = outputs.written
            predict = self.predictor.predict
            if source.kind != "images":  # photos differ too much
                from ehrpose.slow_steps import watched

                predict = watched(predict, "frames")
            find: Find = partial(_find, predict, choose, self._tracker(tracker, source))
            if isinstance(tracker, dict) and tracker.get("smoothing") == "offline":
                from ehrpose.inferencers.two_passes import smoothed_find

                find = smoothed_find(find, source, partial(read, warns=False))
            for batch in read(source):
                frames = self._readable(batch)
                pictures, predictions, found_results = [], [], []
                for frame, (people, ids) in zip(frames, find(frames)):
                    predictions.append(people_to_dicts(people, track_ids=ids))
                    found_results.append(results_of(frame, people, ids, self.predictor.meta, source))
                    outputs.add(frame, predictions[-1], found_results[-1])
                    if not write.draws:
                        continue
                    assert frame.image is not None
                    canvas = canvas_of(self.predictor, frame.image, draw)
                    note = None if rate is None else f"{rate.step():.1f} fps"
                    paint = partial(draw_found, canvas, people, ids, self.predictor.meta, draw, note)
                    drawn = outputs.draw(frame, paint, found_results[-1])
                    if write.return_vis:
                        pictures.append(drawn.result())
                    if write.show and not _show(drawn.result(), source, write.wait_time):
                        return
                if frames:
                    yield {
                        "model": self.predictor.name,
                        "predictions": predictions,
                        "results": found_results,
                        "visualization": pictures,
                        "frames": frames,
                    }

    def watch(
        self, sources: str | Sequence[str] | LiveSources, batch_size: int = 1, **options: Any
    ) -> Generator[StreamResult, None, None]:
        """Find people in streams, cameras and videos, all at once: see ``ehrpose.inferencers.streams.watch``."""
        from ehrpose.inferencers.streams import watch

        return watch(self, sources, batch_size, **options)

    def close(self) -> None:
        """Free the network's memory."""
        self.predictor.close()

    def __enter__(self) -> PoseInferencer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _readable(self, frames: list[Frame]) -> list[Frame]:
        for frame in frames:
            if frame.image is None:
                self.failed.append((str(frame.path), str(frame.error)))
                print(frame.error, file=sys.stderr)
        return [frame for frame in frames if frame.image is not None]

    def _tracker(self, tracker: Any, source: InputSource) -> Tracker | None:
        if tracker is None or tracker is False:
            return None
        from ehrpose.tracking.open_tracker import open_tracker

        if isinstance(tracker, dict) and tracker.get("smoothing") == "offline":
            tracker = {**tracker, "smoothing": None}  # smoothed once all frames are known
        return open_tracker(tracker, self.predictor.meta, source.fps)


# Suggestions for a misspelt option.
_ARGUMENTS = [
    name for name in inspect.signature(PoseInferencer.__call__).parameters if name not in ("self", "options")
]


def _find(
    predict: Callable[[list[np.ndarray]], list[People]],
    choose: Callable[[People], People],
    follower: Tracker | None,
    frames: list[Frame],
) -> list[tuple[People, Any]]:
    """Return the people of readable frames, and their ids if there is a tracker."""
    images = [frame.image for frame in frames if frame.image is not None]
    found = map(choose, predict(images) if images else [])
    if follower is None:
        return [(people, None) for people in found]
    return [follower.update(people, frame.timestamp) for frame, people in zip(frames, found)]


def _batches(
    source: InputSource,
    batch_size: int,
    skip: int,
    max_frames: int | None,
    show_progress: bool,
    warns: bool = True,
) -> Iterator[list[Frame]]:
    """Yield lists of frames, read ahead in a thread; for a camera, always just the newest frame."""
    from ehrpose.media.prefetch import prefetch

    if source.video is not None and skip:
        source.video.skip(skip)
    is_camera = source.kind == "camera"
    left = 0 if source.video is not None else skip
    limited = islice(iter(source), left, None if max_frames is None else left + max_frames)
    frames = prefetch(limited, 1, newest=True) if is_camera else prefetch(limited, 2 * batch_size)
    total = source.num_frames
    if total is not None:
        total = max(0, total - skip) if max_frames is None else min(max(0, total - skip), max_frames)
    bar = Progress(total) if show_progress else None
    done = 0
    try:
        while True:
            batch = list(islice(frames, 1 if is_camera else batch_size))
            if not batch:
                break
            yield batch
            done += len(batch)
            if bar is not None:
                bar.step(len(batch))
    finally:
        if bar is not None:
            bar.end()
        frames.close()
    if skip and not done:
        has = source.num_frames if source.video is None else source.video.num_read
        what = "photo" if source.kind == "images" else "frame"
        raise ValueError(
            f"nothing is left after `skip` {skip}: expected fewer than the input's {counted(has or 0, what)}"
        )
    if warns and (max_frames is None or done < max_frames):
        _warn_of_missing(source)


def _warn_of_missing(source: InputSource) -> None:
    video = source.video
    if video is not None and video.problem:
        print(f"{video.path}: {video.problem}", file=sys.stderr)


def _show(picture: np.ndarray, source: InputSource, wait_time: float) -> bool:
    """Show a picture; return whether to continue."""
    from ehrpose.media.window import show_picture

    waits = not wait_time and source.fps is None
    return show_picture(picture, None if waits else wait_time)
