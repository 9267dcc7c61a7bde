"""``ehrpose deploy`` and tools/deploy.py."""

from __future__ import annotations

import argparse
import sys

from ehrpose.backend_table import BACKEND_TABLE, PRECISIONS
from ehrpose.cli import add_cfg_options, as_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file, zoo model, or config name such as h-3")
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="checkpoint file, zoo model, or 'none' for random weights; default: the zoo model's own",
    )
    parser.add_argument(
        "--backend",
        default="onnxruntime",
        choices=[info.option for info in BACKEND_TABLE.values()],
        help="engine that will run the model, see docs/deploy/engines.md (default: %(default)s)",
    )
    parser.add_argument("--precision", default="fp32", choices=list(PRECISIONS), help="default: %(default)s")
    parser.add_argument(
        "--calib-data", metavar="DIR", help="folder of photos to calibrate int8 on, and to compare people on"
    )
    parser.add_argument(
        "--max-calib-images", type=int, default=64, help="maximum number of photos from that folder"
    )
    parser.add_argument(
        "--half-range", action="store_true", help="7-bit int8 weights, for x86 CPUs without VNNI"
    )
    parser.add_argument(
        "--typed", action="store_true", help="write fp16 into the ONNX file, as TensorRT 11 and newer require"
    )
    parser.add_argument(
        "--target", metavar="CHIP", help="chip that the file is for, see docs/deploy/engines.md"
    )
    parser.add_argument("--workspace-mib", type=int, default=1024, help="TensorRT workspace per layer, MiB")
    parser.add_argument("--work-dir", default="work_dirs/deploy", help="output folder (default: %(default)s)")
    parser.add_argument(
        "--name", default="end2end", help="name of the files, without suffix (default: %(default)s)"
    )
    parser.add_argument(
        "--input-size",
        nargs="+",
        metavar="PX",
        help="fixed input side, or height and width, or several HxW to choose from for each photo (default: each "
        "photo's own shape, as in the config's test; two shapes for TensorRT)",
    )
    parser.add_argument("--batch", type=int, default=1, help="batch size")
    parser.add_argument("--dynamic-batch", action="store_true", help="allow any batch size")
    parser.add_argument(
        "--input-type",
        choices=["uint8", "float32"],
        help="input type, values 0 to 255 (default: depends on the backend)",
    )
    parser.add_argument(
        "--layout", default="NCHW", choices=["NCHW", "NHWC"], help="input layout (default: %(default)s)"
    )
    parser.add_argument(
        "--decode",
        default="none",
        choices=["none", "peaks"],
        help="peaks: output keypoint candidates instead of maps",
    )
    parser.add_argument("--opset", type=int, default=13, help="ONNX opset (default: %(default)s)")
    parser.add_argument(
        "--test-img",
        nargs="+",
        default=[],
        metavar="IMG",
        help="images for checking the export against the model",
    )
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Export, check, and print what was written."""
    from ehrpose.config_names import find_config, weights_of

    args.checkpoint = weights_of(args.config, args.checkpoint)
    args.config = find_config(args.config)
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import build_or_explain, export

    fixed, shapes = _input_sizes(args.input_size)
    options = ExportOptions(
        backend=args.backend.replace("-", "_"), precision=args.precision,
        input_wh=fixed, shapes_wh=shapes, batch_size=args.batch,
        dynamic_batch=args.dynamic_batch, opset=args.opset, input_dtype=args.input_type, layout=args.layout,
        decode=args.decode, typed=args.typed, calib_data=args.calib_data, max_calib_images=args.max_calib_images,
        half_range=args.half_range, name=args.name, target=args.target,
    )  # fmt: skip
    checkpoint = None if args.checkpoint == "none" else args.checkpoint
    done = export(args.config, checkpoint, args.work_dir, options, args.test_img, args.cfg_options)
    names = {"map_error": "{:.2g} of the maps' range", "pixel_error": "{:.2g} px in the keypoints",
             "score_error": "{:.2g} in the classes' probabilities"}  # fmt: skip
    found = " and ".join(names[name].format(value) for name, value in done.errors.items())
    print(f"{done.path}: in float32 it differs from the model by at most {found}")
    if done.report:
        print(as_options(done.report))
    if options.for_tensorrt:
        sys.exit(build_or_explain(done.path, options, args.workspace_mib))


def _input_sizes(words: list[str] | None) -> tuple[tuple[int, int] | None, tuple[tuple[int, int], ...]]:
    """Return width and height of a fixed input, or those of several shapes."""
    numbers = [word.lower().split("x") for word in words or ()]
    is_list = any(len(parts) > 1 for parts in numbers)
    if not all(part.isdecimal() for parts in numbers for part in parts) or (
        not all(len(parts) == 2 for parts in numbers) if is_list else len(numbers) > 2
    ):
        raise ValueError(
            "--input-size takes a side, or height and width, or shapes such as 320x480 480x320, got "
            + " ".join(words or ())
        )
    if not numbers:
        return None, ()
    if is_list:
        shapes = tuple((int(width), int(height)) for height, width in numbers)
        return (shapes[0], ()) if len(shapes) == 1 else (None, shapes)
    return (int(numbers[-1][0]), int(numbers[0][0])), ()
