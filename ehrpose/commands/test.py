"""Testing as the command line says."""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.cli import CfgOptions, add_display, add_launcher


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file, or name of a model of the zoo")
    parser.add_argument("--work-dir", help="folder for logs (default: work_dirs/<name of the config>)")
    parser.add_argument("--out", metavar="JSON", help="write the results in COCO's submission form")
    parser.add_argument(
        "--format-only", action="store_true", help="write --out only, for data without annotations"
    )
    parser.add_argument("--dump", metavar="PKL", help="write the predictions of every image")
    parser.add_argument(
        "--flip-test",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="test with the mirrored image as well (default: as the config says)",
    )
    parser.add_argument(
        "--badcase",
        type=int,
        nargs="?",
        const=20,
        metavar="N",
        help="draw the N photos with the lowest OKS (default 20) into badcase/ of the work folder",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=CfgOptions,
        metavar="KEY=VALUE",
        help="replace config values, for example codec.input_size=256",
    )
    add_display(parser)
    add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    """Test as the config and the options say."""
    from ehrpose.commands import config_options as options
    from ehrpose.config import load_config
    from ehrpose.engine.runner import evaluate_checkpoint

    cfg = load_config(args.config, args.cfg_options)
    options.set_test_output(cfg, args.out, args.format_only, args.dump)
    options.set_flip_test(cfg, args.flip_test)
    options.set_display(cfg, args.show_dir, args.show, args.interval, args.wait_time)
    work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    options.set_bad_cases(cfg, args.badcase, Path(work_dir) / "badcase")
    evaluate_checkpoint(cfg, args.checkpoint, args.work_dir, args.launcher, args.out)
