"""Photos, folders, videos and cameras in; people, pictures and files out. Names follow MMPose's inferencer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.media.inputs import Frame, InputSource, open_inputs
from ehrpose.media.prefetch import prefetch
from ehrpose.media.video import VideoWriter
from ehrpose.predictions import people_to_dicts, write_predictions
from ehrpose.predictors import open_predictor, photo_maps
from ehrpose.structures import People
from ehrpose.visualization.drawing import draw_people, write_picture
from ehrpose.visualization.map_view import draw_heatmaps
from ehrpose.visualization.map_view import draw_tags as lay_tags

VISUALIZATIONS, PREDICTIONS = "visualizations", "predictions"


class PoseInferencer:
    """Find people in whatever is given; call it and iterate over the results.

    Args:
        pose2d: Name of a model of the zoo, config file, Config, model of ``init_model``, or exported file
            (``end2end.onnx``, ...), which runs without torch.
        pose2d_weights: Checkpoint; None takes the zoo's.
        device: ``"cpu"``, ``"cuda:0"``, ...; None takes CUDA where there is some.
        backend: Backend of an exported file; None is the one that it was exported for.
        cfg_options: Dotted keys and values that replace those of the config.
        mode: Decoding, ``"fast"`` or ``"paper"``; None is the config's.
        flip_test: Look at the mirrored photo as well: better, slower. None is the config's.
        letterbox: Side, or width and height, of an input that every photo is fitted into, so that photos of any
            shape run in one batch; None gives each photo an input of its own shape.
        num_threads: Threads of the network on the CPU.

    Attributes:
        predictor: What finds the people.
        failed: File name and reason of each photo of the last call that could not be read.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The model cannot be used, or arguments do not fit it.

    Example:
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
        )
        self.failed: list[tuple[str, str]] = []

    def __call__(
        self,
        inputs: Any,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        vis_out_dir: str | Path | None = None,
        pred_out_dir: str | Path | None = None,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        bbox_thr: float = 0.1,
        kpt_thr: float = 0.3,
        num_instances: int = -1,
        draw_heatmap: bool = False,
        draw_tags: bool = False,
        show_progress: bool = False,
        skip: int = 0,
        max_frames: int | None = None,
        video_codec: str | None = None,
        **draw_options: Any,
    ) -> Iterator[dict[str, Any]]:
        """Find people; photos that cannot be read are named, counted in ``failed``, and left out.

        Args:
            inputs: See ``ehrpose.media.open_inputs``: file, folder, glob, video, array, list, ``"webcam:0"``.
            batch_size: Photos that run through the network at once.
            out_dir: Folder for both of the following, in ``visualizations`` and ``predictions``.
            vis_out_dir: Folder for a picture of each photo, or the video.
            pred_out_dir: Folder for a json of each photo (a list of people), or of the video (a list of frames, each
                with ``frame_id`` and ``instances``).
            return_vis: Give the pictures in the results.
            show: Show each picture in a window.
            wait_time: Seconds that the window stays; 0 waits for a key with photos, and does not wait with a video.
            bbox_thr: People below it are left out, 0 to 1.
            kpt_thr: Keypoints below it are not drawn, 0 to 1.
            num_instances: The most people of a photo, the best; -1 is all.
            draw_heatmap: Lay the heatmaps over the picture.
            draw_tags: Lay the tags, as colours, over the picture.
            show_progress: Show a progress bar.
            skip: Frames of a video, or photos, that are passed over at the start.
            max_frames: The most frames or photos; None is all.
            video_codec: Four letters of the encoder of the video that is written.
            **draw_options: Further options of ``ehrpose.visualization.drawing.draw_people``; ``draw_bbox`` and
                ``show_score`` draw boxes and scores, ``skeleton_style`` is its ``style``.

        Yields:
            A dict per batch: ``predictions``, for each photo a list of people (``people_to_dicts``);
            ``visualization``, for each photo the (H, W, 3) uint8 BGR picture where asked for, else an empty list.

        Raises:
            FileNotFoundError: There is no such input.
            ValueError: An argument is out of range, or an output would overwrite an input.
        """
        if draw_heatmap and draw_tags:
            raise ValueError("heatmaps and tags hide each other: choose one of draw_heatmap and draw_tags")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if skip < 0 or (max_frames is not None and max_frames < 1):
            raise ValueError(
                f"skip must not be negative and max_frames positive, got {skip} and {max_frames}"
            )
        if out_dir is not None:
            vis_out_dir = vis_out_dir or Path(out_dir) / VISUALIZATIONS
            pred_out_dir = pred_out_dir or Path(out_dir) / PREDICTIONS
        self.failed = []
        with open_inputs(inputs) as source:
            job = _Job(source, vis_out_dir, pred_out_dir, video_codec)
            draw = return_vis or show or vis_out_dir is not None
            over = "heatmap" if draw_heatmap else "tags" if draw_tags else None
            with job:
                for frames in _batches(source, batch_size, skip, max_frames, show_progress):
                    frames = self._readable(frames)
                    found = self._find([frame.image for frame in frames], bbox_thr, num_instances)
                    predictions = [people_to_dicts(people) for people in found]
                    pictures = []
                    for frame, people, rows in zip(frames, found, predictions):
                        job.add(frame, rows)
                        if draw:
                            picture = self._draw(frame.image, people, kpt_thr, over, draw_options)
                            pictures.append(picture)
                            job.add_picture(frame, picture)
                            if show and not _show(picture, source, wait_time):
                                return
                    if frames:
                        yield {"predictions": predictions, "visualization": pictures if return_vis else []}

    def close(self) -> None:
        """Give the network's memory back."""
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

    def _find(self, images: Sequence[Any], bbox_thr: float, num_instances: int) -> list[People]:
        found = self.predictor.predict(images) if images else []
        kept = [people.select(people.scores >= bbox_thr) for people in found]
        return (
            kept
            if num_instances < 0
            else [people.select(np.arange(len(people)) < num_instances) for people in kept]
        )

    def _draw(
        self, image: Any, people: People, kpt_thr: float, over: str | None, options: dict[str, Any]
    ) -> np.ndarray:
        options = dict(options)
        if over is not None:
            maps = photo_maps(self.predictor, image)
            image = (draw_heatmaps if over == "heatmap" else lay_tags)(image, maps)
        if options.pop("draw_bbox", False):
            options["bboxes"] = people.boxes()
        if options.pop("show_score", False):
            options["person_scores"] = people.scores
        if "skeleton_style" in options:
            options["style"] = options.pop("skeleton_style")
        meta = self.predictor.meta
        return draw_people(image, people.keypoints, people.keypoint_scores, meta, kpt_thr=kpt_thr, **options)


class _Job:
    """What is written of one call; an error on the way leaves no broken video."""

    def __init__(
        self,
        source: InputSource,
        vis_out_dir: str | Path | None,
        pred_out_dir: str | Path | None,
        video_codec: str | None,
    ):
        self.source = source
        self.vis_dir = None if vis_out_dir is None else Path(vis_out_dir)
        self.pred_dir = None if pred_out_dir is None else Path(pred_out_dir)
        self.frames: list[dict[str, Any]] = []
        self.writer = None
        taken = {path.resolve() for path in source.paths()}
        if self.vis_dir is not None and source.fps is not None:
            target = self.vis_dir / f"{source.name}.mp4"
            _refuse_overwriting(target, taken)
            self.writer = VideoWriter(target, source.fps, video_codec)
        self.taken = taken

    def add(self, frame: Frame, rows: list[dict[str, Any]]) -> None:
        """Keep, or write, the people of one frame."""
        if self.pred_dir is None:
            return
        if self.source.fps is None:
            write_predictions(rows, self.pred_dir / f"{frame.name}.json")
        else:
            self.frames.append({"frame_id": frame.index, "instances": rows})

    def add_picture(self, frame: Frame, picture: np.ndarray) -> None:
        """Write the picture of one frame."""
        if self.writer is not None:
            self.writer.write(picture)
        elif self.vis_dir is not None:
            target = self.vis_dir / f"{frame.name}.jpg"
            _refuse_overwriting(target, self.taken)
            write_picture(target, picture)

    def __enter__(self) -> _Job:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        # A caller who stops iterating (GeneratorExit) keeps what is done so far; an error leaves no video.
        broken = kind is not None and not issubclass(kind, GeneratorExit)
        if self.writer is not None:
            self.writer.abort() if broken else self.writer.close()
        if self.pred_dir is not None and self.source.fps is not None and not broken:
            write_predictions(self.frames, self.pred_dir / f"{self.source.name}.json")


def _refuse_overwriting(target: Path, taken: set[Path]) -> None:
    if target.resolve() in taken:
        raise ValueError(f"{target} would overwrite its input: choose another folder")


def _batches(
    source: InputSource, batch_size: int, skip: int, max_frames: int | None, show_progress: bool
) -> Iterator[list[Frame]]:
    """Give the frames in lists, read ahead in a thread; a camera's are neither batched nor kept waiting."""
    if source.video is not None and skip:
        source.video.skip(skip)
        skip = 0
    stop = None if max_frames is None else skip + max_frames
    frames: Any = islice(iter(source), skip, stop)
    if source.kind == "camera":
        batch_size = 1
    else:
        frames = prefetch(frames, 2 * batch_size)
    total = source.num_frames
    if total is not None:
        total = max(0, total - skip) if max_frames is None else min(total, max_frames)
    bar = _Progress(total) if show_progress else None
    try:
        while True:
            batch = list(islice(frames, batch_size))
            if not batch:
                return
            yield batch
            if bar is not None:
                bar.step(len(batch))
    finally:
        if bar is not None:
            bar.end()
        if hasattr(frames, "close"):
            frames.close()


class _Progress:
    """A line on stderr: how many, how many a second, and how long still."""

    def __init__(self, total: int | None):
        self.total, self.done, self.start, self.shown = total, 0, time.perf_counter(), 0.0

    def step(self, count: int) -> None:
        self.done += count
        now = time.perf_counter()
        if now - self.shown > 0.2:
            self.shown = now
            self._print(now - self.start)

    def end(self) -> None:
        if self.done:
            self._print(time.perf_counter() - self.start)
            print(file=sys.stderr)

    def _print(self, seconds: float) -> None:
        rate = self.done / max(seconds, 1e-9)
        of = "" if self.total is None else f"/{self.total}"
        left = "" if self.total is None else f", {max(0, self.total - self.done) / rate:.0f} s left"
        print(f"\r{self.done}{of}, {rate:.1f}/s{left}   ", end="", file=sys.stderr, flush=True)


def _show(picture: np.ndarray, source: InputSource, wait_time: float) -> bool:
    """Show a picture; return whether to go on (Escape, q, or a closed window end it)."""
    import cv2

    name = "ehrpose"
    try:
        cv2.imshow(name, picture)
        moving = source.fps is not None
        key = cv2.waitKey(max(1, round(1000 * wait_time)) if wait_time or moving else 0) & 0xFF
        visible = cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error as error:
        raise ValueError(
            "no window can be shown here (no display, or an OpenCV without windows): leave out show"
        ) from error
    return visible and key not in (27, ord("q"))
