"""``ehrpose test`` and tools/test.py."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ehrpose.commands.config_options import add_config_options, set_display

if TYPE_CHECKING:  # help must not wait for MMEngine
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file, zoo model, or config name such as h-3")
    parser.add_argument(
        "checkpoint", nargs="?", help="checkpoint file or zoo model; default: the zoo model's own"
    )
    parser.add_argument("--work-dir", help="folder for logs (default: work_dirs/<config name>)")
    parser.add_argument(
        "--out", metavar="JSON", help="write the results: people in COCO's format, or the classes"
    )
    parser.add_argument(
        "--format-only", action="store_true", help="only write --out, for data without annotations"
    )
    parser.add_argument("--dump", metavar="PKL", help="write all predictions as a pickle")
    parser.add_argument(
        "--flip-test",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="also run the mirrored image (default: from the config)",
    )
    parser.add_argument(
        "--badcase",
        type=int,
        nargs="?",
        const=20,
        metavar="N",
        help="draw the N images with the lowest OKS into badcase/ in the work dir (N defaults to 20)",
    )
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Test a checkpoint with the config and the options."""
    from ehrpose.config_names import find_config, weights_of

    args.checkpoint = weights_of(args.config, args.checkpoint)
    args.config = find_config(args.config)
    from ehrpose.config import load_config
    from ehrpose.engine.runner import evaluate_checkpoint

    cfg = load_config(args.config, args.cfg_options)
    set_test_output(cfg, args.out, args.format_only, args.dump)
    set_flip_test(cfg, args.flip_test)
    set_display(cfg, args.show_dir, args.show, args.interval, args.wait_time)
    work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    set_bad_cases(cfg, args.badcase, Path(work_dir) / "badcase")
    evaluate_checkpoint(cfg, args.checkpoint, args.work_dir, args.launcher, args.out)


def set_test_output(
    cfg: Config, out: str | None = None, format_only: bool = False, dump: str | None = None
) -> None:
    """Set which results of a test are written.

    Args:
        cfg: Config.
        out: JSON file for the results: people in COCO submission format, or the classes of images.
        format_only: Only write the results, for data without annotations.
        dump: Pickle file for the predictions of every image.

    Raises:
        ValueError: A file has the wrong suffix, ``format_only`` is set without ``out``, or no metric can write.
    """
    from ehrpose.engine.runner import RESULT_SUFFIXES

    if out is not None and not out.endswith(".json"):
        raise ValueError(f"--out must end with .json, got {out}")
    if dump is not None and not dump.endswith((".pkl", ".pickle")):
        raise ValueError(f"--dump must end with .pkl or .pickle, got {dump}")
    if format_only and out is None:
        raise ValueError("--format-only writes the results to a file: give it with --out")
    evaluators = _as_list(cfg.test_evaluator)
    if out is not None:
        writers = [e for e in evaluators if e["type"] in RESULT_SUFFIXES]
        if not writers:
            raise ValueError(f"--out needs one of {', '.join(RESULT_SUFFIXES)} in test_evaluator")
        writers[0].update(outfile_prefix=out.removesuffix(".json"), format_only=format_only)
    if dump is not None:
        evaluators.append({"type": "DumpResults", "out_file_path": dump})
    cfg.test_evaluator = evaluators


def set_flip_test(cfg: Config, flip_test: bool | None) -> None:
    """Turn the flip test on or off; None leaves it to the config."""
    if flip_test is not None:
        cfg.model.flip_test = flip_test


def set_bad_cases(cfg: Config, count: int | None, out_dir: str | os.PathLike) -> None:
    """Draw the ``count`` photos of a test with the lowest OKS into a folder; None draws none.

    Raises:
        ValueError: ``count`` is below 1, or the config is not of a pose model.
    """
    if count is None:
        return
    if count < 1:
        raise ValueError(f"--badcase must be at least 1, got {count}")
    if "keypoints" not in cfg:
        raise ValueError("--badcase ranks people by OKS: expected a config with keypoints, got one without")
    hook = {"type": "BadCaseHook", "out_dir": str(out_dir), "keypoints": "$keypoints", "count": count}
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), hook]


def _as_list(evaluator: Any) -> list[Any]:
    return list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
