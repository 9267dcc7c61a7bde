"""The command ``ehrpose predict``: find people in images, videos and cameras (no torch for exported models)."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ehrpose.cli import add_cfg_options, add_trust_pt2
from ehrpose.commands.predict_streams import add_stream_options, run_streams, stream_words
from ehrpose.counted import counted
from ehrpose.inferencers.model_spec import ModelSpec
from ehrpose.inferencers.options import PREDICTION_FORMATS, DrawOptions, OutputOptions, pick
from ehrpose.visualization import COLORINGS, STYLES

DEFAULT_MODEL = "ehrnet-small"
MODEL_HELP = f"zoo model, CONFIG.py:CHECKPOINT, or exported file (.onnx, ...); default: {DEFAULT_MODEL}"
WEIGHTS_HELP = "checkpoint file, or 'none' for random weights; default: those of the zoo model"
# Frame rate of an image sequence.
_SEQUENCE_FPS = 30.0
# Maximum number of a video's files that the summary names.
_NAMED_FILES = 3
_SMOOTHING: dict[str, Any] = {"causal": {}, "offline": "offline"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ehrpose predict``."""
    parser.add_argument(
        "input",
        nargs="*",
        help="image, several, folder of images, glob, video, webcam:N (0 is webcam:0); or streams, several at once: "
        "rtsp://, http://, https://, tcp://, udp://, each also as NAME=ADDRESS, @FILE for a list of them",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument("--weights", help=WEIGHTS_HELP)
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``ehrpose predict`` and the demos share; each is stored under the name it has in Python."""
    network = parser.add_argument_group("network")
    network.add_argument("--device", help="cpu, cuda:0, ... (default: CUDA if available)")
    network.add_argument(
        "--backend", help="backend of an exported file: onnxruntime, openvino, tensorrt, ..."
    )
    add_trust_pt2(network)
    network.add_argument("--batch-size", type=int, default=1, help="batch size")
    network.add_argument("--threads", dest="num_threads", type=int, help="CPU threads of the network")
    network.add_argument("--mode", choices=["fast", "paper"], default="fast", help="decoding mode")
    network.add_argument(
        "--flip-test", action="store_true", help="also run the mirrored image (more accurate, slower)"
    )
    add_cfg_options(network)
    _add_drawing(parser)
    _add_output(parser)
    add_stream_options(parser)
    video = parser.add_argument_group("video")
    video.add_argument("--skip", type=int, default=0, help="frames (or images) to skip at the start")
    video.add_argument("--max-frames", type=int, help="maximum number of frames (or images)")
    video.add_argument("--fps", type=float, help="treat images as the frames of a video at this rate")
    video.add_argument(
        "--codec", dest="video_codec", metavar="FOURCC", help="encoder of the output video, such as MJPG"
    )
    video.add_argument("--track", action="store_true", help="track people: each gets a persistent id")
    video.add_argument(
        "--smooth",
        nargs="?",
        const="causal",
        choices=("causal", "offline"),
        help="track people and smooth their keypoints: as they come (--smooth alone), or once all of a video is known: "
        "without lag, gaps filled (--smooth offline)",
    )
    video.add_argument(
        "--no-audio",
        dest="keep_sound",
        action="store_false",
        help="do not copy the sound of the input video",
    )


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    drawing = parser.add_argument_group("people and drawing")
    drawing.add_argument(
        "--bbox-thr", "--score-thr", type=float, default=0.1, help="drop people below this score"
    )
    drawing.add_argument(
        "--kpt-thr", type=float, default=DrawOptions.kpt_thr, help="do not draw keypoints below this score"
    )
    drawing.add_argument("--draw-bbox", action="store_true", help="draw a box around each person")
    drawing.add_argument("--draw-heatmap", action="store_true", help="overlay the heatmaps")
    drawing.add_argument("--draw-tags", action="store_true", help="overlay the tags, as colors")
    drawing.add_argument("--style", choices=STYLES, default=DrawOptions.style, help="skeleton style")
    drawing.add_argument(
        "--color-by",
        choices=COLORINGS,
        default=DrawOptions.color_by,
        help="color limbs, people, or track ids",
    )
    drawing.add_argument("--fade", action="store_true", help="draw uncertain keypoints fainter")
    drawing.add_argument("--show-score", action="store_true", help="write each person's score")
    drawing.add_argument("--show-kpt-idx", action="store_true", help="write each keypoint's index")
    drawing.add_argument("--black-background", action="store_true", help="draw on black")
    drawing.add_argument("--show-fps", action="store_true", help="write the frames per second")


def _add_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument("--out-file", help="image (for a single input) or video to write")
    output.add_argument(
        "--out-dir", help="folder for images, video and JSON files (default: outputs; none for a camera)"
    )
    output.add_argument("--pred-out-dir", help="folder for the predictions (default: next to the images)")
    output.add_argument(
        "--format",
        dest="pred_format",
        choices=PREDICTION_FORMATS,
        help="format of the predictions (default: json)",
    )
    output.add_argument(
        "--metres-per-px", type=float, help="size of a pixel, for the format trc in metres (default: in px)"
    )
    output.add_argument(
        "--gallery", action="store_true", help="also write gallery.html: all photos, the least certain first"
    )
    window = output.add_mutually_exclusive_group()
    window.add_argument("--show", action="store_true", help="show a window; q or Escape closes it")
    window.add_argument("--no-window", action="store_true", help="do not open the default window of a camera")


def run(args: argparse.Namespace, as_video: bool = False) -> None:
    """Find people, write the requested output and print a summary.

    Args:
        args: Parsed options of ``add_options``, with ``input``, ``model`` and ``weights``.
        as_video: Treat photos as the frames of a video, also without ``--fps``.

    Raises:
        ValueError: Options do not fit each other or the model.
        FileNotFoundError: The input or the model does not exist.
        SystemExit: With code 1 if some photos could not be read, once the others are done; with 128 plus the signal's
            number after Ctrl-C, with the output so far kept.
    """
    from ehrpose.inferencers.inferencer import PoseInferencer
    from ehrpose.media.inputs import is_moving, open_inputs
    from ehrpose.media.stopping import StopRequest

    words = _words(args.input)
    streams = stream_words(words, args.sources)
    if streams:
        from ehrpose.media.live import parse_sources

        run_streams(args, parse_sources(streams))
        return
    for name in ("out", "stats"):
        if getattr(args, name):
            raise ValueError(f"`{name}` is for streams: expected an address, several cameras or `sources`")
    inputs = inputs_of(words)
    if as_video and args.fps is None and not is_moving(inputs):
        args.fps = _SEQUENCE_FPS
    with open_inputs(inputs, args.fps) as source:  # before the model, which takes longer to load
        model, weights = ModelSpec.parse(args.model, args.weights).files()
        draw, write = pick(DrawOptions, vars(args)), _output_options(args, source.kind)
        inferencer = PoseInferencer(
            model, weights, args.device, args.backend, args.cfg_options, args.mode, args.flip_test,
            num_threads=args.num_threads, trust_pt2=args.trust_pt2,
        )  # fmt: skip
        report = _Report(source.kind)
        with inferencer, StopRequest() as stop:
            results = inferencer(
                source,
                args.batch_size,
                bbox_thr=args.bbox_thr,
                skip=args.skip,
                max_frames=args.max_frames,
                tracker={"smoothing": _SMOOTHING[args.smooth]} if args.smooth else args.track,
                show_progress=source.kind != "images" and sys.stderr.isatty(),
                draw=draw,
                write=write,
            )
            try:
                for result in results:
                    report.add(result)
                    if stop:
                        break
            finally:
                results.close()
    report.end(inferencer.written, inferencer.predictor.name)
    if stop.signal is not None:
        kept = "the output written so far is kept" if inferencer.written else "nothing was written yet"
        print(f"interrupted: {kept}", file=sys.stderr)
        raise SystemExit(128 + stop.signal)
    if inferencer.failed:
        failed = len(inferencer.failed)
        print(f"{failed} of {counted(failed + report.frames, 'image')} could not be read", file=sys.stderr)
        raise SystemExit(1)


def _words(given: str | list[str]) -> list[str]:
    """Return the inputs of the command line; a number that is no file is a camera's."""
    from ehrpose.media.inputs import CAMERA

    names = [given] if isinstance(given, str) else given
    return [f"{CAMERA}:{name}" if name.isdigit() and not Path(name).exists() else name for name in names]


def inputs_of(words: str | list[str]) -> str | list[Path]:
    """Return what the words of the command line name, as ``open_inputs`` takes it: one input, or several photos.

    Raises:
        FileNotFoundError: One of several is not there.
        ValueError: One of several is a video or a camera (VideoError).
    """
    from ehrpose.media.inputs import CAMERA, VIDEO_SUFFIXES, list_images
    from ehrpose.media.video import VideoError

    names = _words(words)
    if not names:
        raise ValueError(
            "expected an input: an image, folder, video, camera or stream; or a list as `sources`"
        )
    if len(names) == 1:
        return names[0]
    photos = []
    for name in names:
        if name.split(":")[0] == CAMERA or "://" in name or Path(name).suffix.lower() in VIDEO_SUFFIXES:
            raise VideoError(
                f"{name} is a video or a camera: expected photos only where several inputs are given"
            )
        photos += list_images(name)
    return photos


def _output_options(args: argparse.Namespace, kind: str) -> OutputOptions:
    """Return what to write and show; by default, files in ``outputs``, or a window for a camera."""
    shows = args.show or (kind == "camera" and not args.no_window)
    out_dir = args.out_dir
    if out_dir is None and args.out_file is None and kind != "camera":
        out_dir = "outputs"
    json_dir = args.pred_out_dir or out_dir
    if args.out_file is not None:
        json_dir = json_dir or str(Path(args.out_file).parent)
    elif not (shows or out_dir or json_dir):
        named = args.input if isinstance(args.input, str) else " ".join(args.input)
        raise ValueError(f"{named} would be neither shown nor written: drop --no-window, or add --out-file")
    # One folder, where out_dir in Python makes two.
    folders = {"out_dir": None, "vis_out_dir": out_dir, "pred_out_dir": json_dir}
    folders["pred_format"] = args.pred_format or "json"
    return pick(OutputOptions, {**vars(args), **folders, "show": shows})


class _Report:
    """Lines on stdout: one for each image, and a summary."""

    def __init__(self, kind: str):
        self.kind, self.frames, self.people, self.start = kind, 0, 0, time.perf_counter()

    def add(self, result: dict[str, Any]) -> None:
        """Count a result; print a line for each image."""
        for frame, people in zip(result["frames"], result["predictions"]):
            self.frames += 1
            self.people += len(people)
            if self.kind == "images":
                print(f"{frame.path}: {counted(len(people), 'person', 'people')}")

    def end(self, written: list[Path], model: str) -> None:
        """Print the counts, the rate, what ran (of an exported file with the precision) and where the output is."""
        rate = self.frames / max(time.perf_counter() - self.start, 1e-9)
        what = "image" if self.kind == "images" else "frame"
        # A video has its files named, unless there is one for each frame.
        most = 1 if self.kind == "images" else _NAMED_FILES
        named = written if len(written) <= most else sorted({path.parent for path in written})
        where = ", ".join(map(str, named))
        print(
            f"{counted(self.frames, what)}, {counted(self.people, 'person', 'people')}, {rate:.1f} {what}s/s, {model}"
            + (f" -> {where}" if where else "")
        )
