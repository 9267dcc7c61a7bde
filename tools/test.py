"""Test a model: python tools/test.py CONFIG CHECKPOINT."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from ehrpose.cli import add_display, add_launcher, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
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
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="replace config values, for example codec.input_size=256",
    )
    add_display(parser)
    add_launcher(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Test as the config and the options say."""
    args = parse_args(argv)
    from ehrpose.config import load_config
    from ehrpose.engine import options
    from ehrpose.engine.testing import evaluate_checkpoint

    cfg = load_config(args.config, args.cfg_options)
    options.set_test_output(cfg, args.out, args.format_only, args.dump)
    options.set_flip_test(cfg, args.flip_test)
    options.set_display(cfg, args.show_dir, args.show, args.interval, args.wait_time)
    evaluate_checkpoint(cfg, args.checkpoint, args.work_dir, args.launcher, args.out)


if __name__ == "__main__":
    run_cli(main)
