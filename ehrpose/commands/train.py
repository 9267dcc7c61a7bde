"""Training as the command line says."""

from __future__ import annotations

import argparse

from ehrpose.cli import CfgOptions, add_display, add_launcher


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--work-dir", help="folder for logs and checkpoints (default: work_dirs/CONFIG's name)"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from a checkpoint; without a name from the last one in the work_dir",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision: bfloat16, float16 on older GPUs")
    parser.add_argument("--no-validate", action="store_true", help="do not validate while training")
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate to the batch size"
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
    """Train as the config and the options say."""
    from ehrpose.commands import config_options as options
    from ehrpose.config import load_config
    from ehrpose.engine import build_runner

    cfg = load_config(args.config, args.cfg_options)
    options.set_resume(cfg, args.resume)
    options.set_amp(cfg, args.amp)
    options.set_auto_scale_lr(cfg, args.auto_scale_lr)
    options.set_no_validate(cfg, args.no_validate)
    options.set_display(cfg, args.show_dir, args.show, args.interval, args.wait_time)
    build_runner(cfg, args.work_dir, args.launcher).train()
