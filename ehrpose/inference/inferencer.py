"""Photos, folders, videos and cameras in; people, pictures and files out. Names follow MMPose's inferencer."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.inference.predictors import open_predictor, photo_maps
from ehrpose.media.inputs import Frame, InputSource, open_inputs
from ehrpose.media.outputs import Outputs
from ehrpose.media.prefetch import prefetch
from ehrpose.media.progress import Progress, Rate
from ehrpose.media.window import check_window, show_picture, write_rate
from ehrpose.people_json import people_to_dicts
from ehrpose.structures import People
from ehrpose.tracking.open_tracker import Tracker, open_tracker
from ehrpose.visualization.drawing import draw_people
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
        written: Files that the last call has put in their places; a video's once the call is over.

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
        self.written: list[Path] = []

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
        out_file: str | Path | None = None,
        fps: float | None = None,
        keep_sound: bool = True,
        show_fps: bool = False,
        tracker: Tracker | dict[str, Any] | bool | None = None,
        **draw_options: Any,
    ) -> Generator[dict[str, Any], None, None]:
        """Find people; photos that cannot be read are named, counted in ``failed``, and left out.

        Reading, finding, drawing and encoding run in threads of their own, side by side. A video keeps its sound where
        the program ffmpeg is on the PATH. Whoever stops iterating, closes the generator or presses Ctrl-C keeps what is
        done so far as whole files; an error leaves no file of the video.

        Args:
            inputs: See ``ehrpose.media.open_inputs``: file, folder, glob, video, array, list, ``"webcam:0"``; an
                InputSource is closed at the end.
            batch_size: Photos that run through the network at once.
            out_dir: Folder for both of the following, in ``visualizations`` and ``predictions``.
            vis_out_dir: Folder for a picture of each photo, or the video (.mp4).
            pred_out_dir: Folder for a json of each photo (a list of people), or of the video (a list of frames, each
                with ``frame_id``, ``timestamp`` in seconds and ``instances``).
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
            out_file: The picture of the one photo, or the video, to write; instead of ``vis_out_dir``.
            fps: Take photos as the frames of a video, so many a second; see ``ehrpose.media.open_inputs``.
            keep_sound: Give the video that is written the sound of the one that was read.
            show_fps: Write into each picture how many frames a second are done.
            tracker: Follow people from frame to frame (videos and cameras): True, options of PoseTracker such as
                ``dict(smoothing={})``, or a tracker. Each person gets a ``track_id`` (-1: not yet followed), drawn as a
                label, and as a colour with ``color_by="id"``.
            **draw_options: Further options of ``ehrpose.visualization.drawing.draw_people``; ``draw_bbox`` and
                ``show_score`` draw boxes and scores, ``skeleton_style`` is its ``style``.

        Yields:
            A dict per batch: ``predictions``, for each photo a list of people (``people_to_dicts``);
            ``visualization``, for each photo the (H, W, 3) uint8 BGR picture where asked for, else an empty list;
            ``frames``, for each photo its Frame: picture, file, number, time.

        Raises:
            FileNotFoundError: There is no such input.
            ValueError: An argument is out of range, an output would overwrite an input, or a video cannot be written
                (VideoError).
        """
        if draw_heatmap and draw_tags:
            raise ValueError("heatmaps and tags hide each other: choose one of draw_heatmap and draw_tags")
        _check_counts(batch_size, skip, max_frames)
        _check_window(show)
        if out_dir is not None:
            vis_out_dir = vis_out_dir or Path(out_dir) / VISUALIZATIONS
            pred_out_dir = pred_out_dir or Path(out_dir) / PREDICTIONS
        draws = return_vis or show or vis_out_dir is not None or out_file is not None
        self.failed, self.written, rate = [], [], Rate()
        with open_inputs(inputs, fps) as source, Outputs(
            source, vis_out_dir, pred_out_dir, out_file, video_codec, keep_sound
        ) as outputs:  # fmt: skip
            self.written = outputs.written
            follower = open_tracker(tracker, self.predictor.meta, source.fps)
            for batch in _batches(source, batch_size, skip, max_frames, show_progress):
                frames = self._readable(batch)
                pictures, predictions = [], []
                found = self._find([frame.image for frame in frames], bbox_thr, num_instances)
                for frame, people in zip(frames, found):
                    ids = None
                    if follower is not None:
                        people, ids = follower.update(people, frame.timestamp)
                    predictions.append(people_to_dicts(people, track_ids=ids))
                    outputs.add(frame, predictions[-1])
                    if not draws:
                        continue
                    canvas = self._canvas(frame.image, draw_heatmap, draw_tags)
                    options = {"kpt_thr": kpt_thr, "ids": ids, **draw_options}
                    speed = rate.step() if show_fps else None
                    drawn = outputs.draw(frame, partial(self._draw, canvas, people, options, speed))
                    if return_vis:
                        pictures.append(drawn.result())
                    if show and not _show(drawn.result(), source, wait_time):
                        return
                if frames:
                    yield {"predictions": predictions, "visualization": pictures, "frames": frames}

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

    def _canvas(self, image: Any, draw_heatmap: bool, draw_tags: bool) -> np.ndarray:
        if not (draw_heatmap or draw_tags):
            return image
        return (draw_heatmaps if draw_heatmap else lay_tags)(image, photo_maps(self.predictor, image))

    def _draw(
        self, canvas: np.ndarray, people: People, options: dict[str, Any], speed: float | None
    ) -> np.ndarray:
        """Return ``canvas`` with its people; runs beside the network."""
        options = dict(options)
        if options.pop("draw_bbox", False):
            options["bboxes"] = people.boxes()
        if options.pop("show_score", False):
            options["person_scores"] = people.scores
        if "skeleton_style" in options:
            options["style"] = options.pop("skeleton_style")
        picture = draw_people(
            canvas, people.keypoints, people.keypoint_scores, self.predictor.meta, **options
        )
        return picture if speed is None else write_rate(picture, speed)


def _check_counts(batch_size: int, skip: int, max_frames: int | None) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if skip < 0 or (max_frames is not None and max_frames < 1):
        raise ValueError(f"skip must not be negative and max_frames positive, got {skip} and {max_frames}")


def _batches(
    source: InputSource, batch_size: int, skip: int, max_frames: int | None, show_progress: bool
) -> Iterator[list[Frame]]:
    """Give the frames in lists, read ahead in a thread; of a camera always the newest, by itself."""
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
    if max_frames is None or done < max_frames:
        _warn_of_missing(source)


def _warn_of_missing(source: InputSource) -> None:
    video = source.video
    if video is not None and video.num_missing:
        print(
            f"{video.path}: its end is broken or missing: {video.num_read} of {video.num_frames} frames could be read",
            file=sys.stderr,
        )


def _check_window(show: bool) -> None:
    """Raise ValueError before any work is done where pictures shall be shown and cannot."""
    if show:
        check_window()


def _show(picture: np.ndarray, source: InputSource, wait_time: float) -> bool:
    """Show a picture; return whether to go on."""
    waits = not wait_time and source.fps is None
    return show_picture(picture, None if waits else wait_time)
