"""``ehrpose tune`` and tools/tune.py: search for the values of a config that give the best validation."""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.cli import CfgOptions, add_cfg_options

BEST = "best.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file, zoo model, or config name such as h-3")
    parser.add_argument(
        "--work-dir",
        help="folder for the study and its trials (default: work_dirs/<config name>/tune); an interrupted "
        "study goes on there",
    )
    parser.add_argument(
        "--space",
        nargs="+",
        action=CfgOptions,
        metavar="KEY=RANGE",
        help="what varies: KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C (default: tune.space of the config, or else "
        "learning rate, weight decay and loss weights, from a tenth to ten times the config's)",
    )
    parser.add_argument(
        "--trials", type=int, help="number of trials, those of earlier runs included (default: 20)"
    )
    parser.add_argument("--metric", help="what makes a trial better (default: as for the best checkpoint)")
    parser.add_argument(
        "--prune",
        action="store_true",
        default=None,
        help="end a trial that is worse at a validation than the median of the others, from the sixth trial on",
    )
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Run the trials that are missing, print a table of all, and write a config with the best values."""
    import optuna  # noqa: F401  first, so that a missing package is said at once

    from ehrpose.config_names import find_config

    args.config = find_config(args.config)
    from ehrpose.config import load_config
    from ehrpose.engine.tuning.results import trials_table, write_best
    from ehrpose.engine.tuning.space import read_space
    from ehrpose.engine.tuning.study import Study, TuningError, read_plan

    cfg = load_config(args.config, args.cfg_options)
    plan = read_plan(cfg, args.trials, args.metric, args.prune)
    space = read_space(cfg, args.space)
    name = Path(args.config).stem
    work_dir = Path(args.work_dir or Path(cfg.get("work_dir") or Path("work_dirs", name), "tune"))
    with Study(cfg, space, plan, work_dir, say=_say) as study:
        _say(
            f"{work_dir}: {len(study.done)} of {plan.trials} trials are done; {plan.metric}, {plan.rule} is better"
        )
        for dimension in space:
            _say(f"  {dimension.key} {dimension.describe()}")
        study.run()
        print(trials_table(study))
        if study.best is None:
            raise TuningError(f"no trial of {len(study.done)} succeeded; the table says why")
        path = work_dir / BEST
        write_best(study, Path(args.config), args.cfg_options, path)
        print(f"best: trial {study.best.number}, {plan.metric} {study.best.value:.4f}")
        for key, value in study.values(study.best).items():
            print(f"  {key}={value}")
        print(f"to train with them: ehrpose train {path}")


def _say(line: str) -> None:
    print(line, flush=True)
