"""Exporting as the command line says."""

from __future__ import annotations

import argparse
import sys

from ehrpose.cli import CfgOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "checkpoint", help="checkpoint file, name of a model of the zoo, or 'none' for random weights"
    )
    parser.add_argument(
        "--backend",
        default="onnxruntime",
        choices=["onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "torch"],
    )
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "bf16", "int8"])
    parser.add_argument("--calib-data", metavar="DIR", help="photos for int8")
    parser.add_argument("--max-calib-images", type=int, default=64, help="the most of them that are used")
    parser.add_argument(
        "--half-range", action="store_true", help="int8 weights of 7 bits, for x86 processors without VNNI"
    )
    parser.add_argument(
        "--typed", action="store_true", help="fp16 for TensorRT from 11 on: written into the file"
    )
    parser.add_argument("--workspace-mib", type=int, default=1024, help="TensorRT: memory for one layer")
    parser.add_argument("--work-dir", default="work_dirs/deploy", help="folder for the files")
    parser.add_argument(
        "--input-size",
        type=int,
        nargs="+",
        metavar="PX",
        help="side, or height and width; default: the codec's",
    )
    parser.add_argument("--batch", type=int, default=1, help="images at once")
    parser.add_argument("--dynamic-batch", action="store_true", help="any number of images at once")
    parser.add_argument("--input-type", choices=["uint8", "float32"], help="type of the input, 0 to 255")
    parser.add_argument("--layout", default="NCHW", choices=["NCHW", "NHWC"], help="axes of the input")
    parser.add_argument(
        "--decode",
        default="none",
        choices=["none", "peaks"],
        help="peaks: give candidates of keypoints, not maps",
    )
    parser.add_argument("--opset", type=int, default=13, help="version of ONNX's operators")
    parser.add_argument("--test-img", nargs="+", default=[], metavar="IMG", help="photos for the check")
    parser.add_argument("--cfg-options", nargs="+", action=CfgOptions, metavar="KEY=VALUE")


def run(args: argparse.Namespace) -> None:
    """Export, check, and say what was written."""
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import build_or_explain, export

    size = args.input_size
    if size is not None and len(size) > 2:
        raise ValueError(f"--input-size takes a side, or height and width, got {size}")
    options = ExportOptions(
        backend=args.backend.replace("-", "_"), precision=args.precision,
        input_wh=None if size is None else (size[-1], size[0]), batch_size=args.batch,
        dynamic_batch=args.dynamic_batch, opset=args.opset, input_dtype=args.input_type, layout=args.layout,
        decode=args.decode, typed=args.typed, calib_data=args.calib_data, max_calib_images=args.max_calib_images,
        half_range=args.half_range,
    )  # fmt: skip
    checkpoint = None if args.checkpoint == "none" else args.checkpoint
    done = export(args.config, checkpoint, args.work_dir, options, args.test_img, args.cfg_options)
    names = {"map_error": "maps by {:.2g}", "pixel_error": "keypoints by {:.2g} px"}
    found = " and ".join(names[name].format(value) for name, value in done.errors.items())
    print(f"{done.path}: in float32 it differs from the model in {found} at most")
    if done.report:
        print(done.report)
    if options.for_tensorrt:
        sys.exit(build_or_explain(done.path, options, args.workspace_mib))
