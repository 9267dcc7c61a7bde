"""Finding people in photos, videos and cameras, as the command line says (no torch for exported models)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ehrpose.cli import CfgOptions

DEFAULT_MODEL = "ehrnet-small"
MODEL_HELP = f"name in the model zoo, config file, or exported file (.onnx, ...); default: {DEFAULT_MODEL}"
WEIGHTS_HELP = "checkpoint file, or 'none' for random weights; default: that of the zoo"
# Of photos that are taken as a video.
_SEQUENCE_FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ehrpose predict``."""
    parser.add_argument("input", help="photo, folder of photos, glob, video, or webcam:N")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument("--weights", help=WEIGHTS_HELP)
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``ehrpose predict`` and demo/video_demo.py share."""
    network = parser.add_argument_group("network")
    network.add_argument("--device", help="cpu, cuda:0, ... (default: CUDA where there is some)")
    network.add_argument("--backend", help="what runs an exported file: onnxruntime, openvino, tensorrt, ...")
    network.add_argument("--batch-size", type=int, default=1, help="pictures at once")
    network.add_argument("--threads", type=int, help="threads of the network on the CPU")
    network.add_argument("--mode", choices=["fast", "paper"], default="fast", help="how maps become people")
    network.add_argument(
        "--flip-test", action="store_true", help="look at the mirror image too: better, slower"
    )
    network.add_argument(
        "--cfg-options", nargs="+", action=CfgOptions, metavar="KEY=VALUE", help="replace config values"
    )
    _add_drawing(parser)
    _add_output(parser)
    video = parser.add_argument_group("video")
    video.add_argument("--skip", type=int, default=0, help="frames (or photos) to pass over at the start")
    video.add_argument("--max-frames", type=int, help="the most frames (or photos)")
    video.add_argument("--fps", type=float, help="take photos as the frames of a video, so many a second")
    video.add_argument("--codec", metavar="FOURCC", help="encoder of the video that is written, such as MJPG")
    video.add_argument("--track", action="store_true", help="follow people: each keeps a number")
    video.add_argument("--smooth", action="store_true", help="follow people and smooth their keypoints")
    video.add_argument("--no-audio", action="store_true", help="write the video without the source's sound")


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    drawing = parser.add_argument_group("people and pictures")
    drawing.add_argument(
        "--bbox-thr", "--score-thr", type=float, default=0.1, help="people below it are left out"
    )
    drawing.add_argument("--kpt-thr", type=float, default=0.3, help="keypoints below it are not drawn")
    drawing.add_argument("--draw-bbox", action="store_true", help="draw a box around each person")
    drawing.add_argument("--draw-heatmap", action="store_true", help="lay the heatmaps over the picture")
    drawing.add_argument("--draw-tags", action="store_true", help="lay the tags over the picture, as colours")
    drawing.add_argument(
        "--style", choices=["mmpose", "openpose"], default="mmpose", help="look of a skeleton"
    )
    drawing.add_argument(
        "--color-by", choices=["limb", "person", "id"], default="limb", help="what has one colour"
    )
    drawing.add_argument("--fade", action="store_true", help="draw uncertain keypoints fainter")
    drawing.add_argument("--show-score", action="store_true", help="write each person's score")
    drawing.add_argument("--show-kpt-idx", action="store_true", help="write each keypoint's index")
    drawing.add_argument("--black-background", action="store_true", help="draw on black")
    drawing.add_argument("--show-fps", action="store_true", help="write how many frames a second are done")


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument("--out-file", help="picture (of one photo) or video to write")
    output.add_argument(
        "--out-dir", help="folder of pictures, video and json files (default: outputs; of a camera: none)"
    )
    output.add_argument("--pred-out-dir", help="folder of the json files (default: beside the pictures)")
    window = output.add_mutually_exclusive_group()
    window.add_argument("--show", action="store_true", help="show a window; q or Escape ends it")
    window.add_argument(
        "--no-window", action="store_true", help="no window for a camera, which has one by default"
    )


def run(args: argparse.Namespace, as_video: bool = False) -> None:
    """Find people, write what was asked for, and say what was done.

    Args:
        args: Of ``add_options``, with ``input``, ``model`` and ``weights``.
        as_video: Take photos as the frames of a video, also without ``--fps``.

    Raises:
        ValueError: Options that do not fit each other or the model.
        FileNotFoundError: There is no such input or model.
        SystemExit: With code 1 when some photos could not be read and the others are done; with 128 and the signal's
            number after Ctrl-C, when what was done is kept.
    """
    from ehrpose.inference.inferencer import PoseInferencer
    from ehrpose.inference.predictors import weights_of
    from ehrpose.media.inputs import is_moving, open_inputs
    from ehrpose.media.stopping import StopRequest

    if as_video and args.fps is None and not is_moving(args.input):
        args.fps = _SEQUENCE_FPS
    with open_inputs(args.input, args.fps) as source:  # before the model, which takes longer to load
        options = {**_call_options(args, source.kind), **drawing_options(args)}
        inferencer = PoseInferencer(
            args.model, weights_of(args.model, args.weights), args.device, args.backend, args.cfg_options, args.mode,
            args.flip_test, num_threads=args.threads,
        )  # fmt: skip
        report = _Report(source.kind)
        with inferencer, StopRequest() as stop:
            results = inferencer(source, **options)
            try:
                for result in results:
                    report.add(result)
                    if stop:
                        break
            finally:
                results.close()
    report.end(inferencer.written)
    if stop.signal is not None:
        kept = "what was done until then is kept" if inferencer.written else "nothing was done yet"
        print(f"interrupted: {kept}", file=sys.stderr)
        raise SystemExit(128 + stop.signal)
    if inferencer.failed:
        print(f"{len(inferencer.failed)} photos could not be read", file=sys.stderr)
        raise SystemExit(1)


def drawing_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what ``PoseInferencer`` takes of the options of drawing."""
    names = ("bbox_thr", "kpt_thr", "draw_bbox", "draw_heatmap", "draw_tags", "style", "color_by", "fade", "show_score",
             "show_kpt_idx", "black_background", "show_fps")  # fmt: skip
    return {name: getattr(args, name) for name in names}


def _call_options(args: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Return what ``PoseInferencer`` takes of the other options."""
    shows = args.show or (kind == "camera" and not args.no_window)
    out_dir = args.out_dir
    if out_dir is None and args.out_file is None and kind != "camera":
        out_dir = "outputs"
    pred_out_dir = args.pred_out_dir or out_dir
    if args.out_file is not None:
        pred_out_dir = pred_out_dir or str(Path(args.out_file).parent)
    elif not (shows or out_dir or pred_out_dir):
        raise ValueError(
            f"{args.input} is neither shown nor written: leave out --no-window, or give --out-file"
        )
    return {
        "batch_size": args.batch_size,
        "out_file": args.out_file,
        "vis_out_dir": out_dir,
        "pred_out_dir": pred_out_dir,
        "show": shows,
        "show_progress": kind != "images" and sys.stderr.isatty(),
        "skip": args.skip,
        "max_frames": args.max_frames,
        "fps": args.fps,
        "video_codec": args.codec,
        "keep_sound": not args.no_audio,
        "tracker": {"smoothing": {}} if args.smooth else args.track,
    }


class _Report:
    """What is said on stdout: a line for each photo, or one for the video."""

    def __init__(self, kind: str):
        self.kind, self.frames, self.people, self.start = kind, 0, 0, time.perf_counter()

    def add(self, result: dict[str, Any]) -> None:
        """Count, and of photos name, what was found."""
        for frame, people in zip(result["frames"], result["predictions"]):
            self.frames += 1
            self.people += len(people)
            if self.kind == "images":
                print(f"{frame.path}: {len(people)} people")

    def end(self, written: list[Path]) -> None:
        """Say how much was done, and where it is."""
        rate = self.frames / max(time.perf_counter() - self.start, 1e-9)
        if self.kind == "images":
            folders = sorted({str(path.parent) for path in written})
            where = str(written[0]) if len(written) == 1 else ", ".join(folders)
            what = "photos"
        else:
            where, what = ", ".join(map(str, written)), "frames"
        print(
            f"{self.frames} {what}, {self.people} people, {rate:.1f} {what}/s"
            + (f" -> {where}" if where else "")
        )
