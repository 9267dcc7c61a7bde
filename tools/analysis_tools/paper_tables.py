"""Print the tables of the EfficientHRNet paper, arXiv:2007.08090, and what is counted and measured here beside them.

Example: python tools/analysis_tools/paper_tables.py --figure work_dirs/figure1.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ehrpose.cli import add_cfg_options, run_cli

BACKENDS = ("torch", "onnxruntime", "openvino")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tables", type=int, nargs="+", choices=range(1, 6), default=[1, 2, 3, 4, 5], help="default: all"
    )
    parser.add_argument(
        "--others", action="store_true", help="also the networks that the paper does not name"
    )
    parser.add_argument("--figure", metavar="FILE", help="draw AP over multiply-adds (.png, .svg or .pdf)")
    parser.add_argument("--out", metavar="FILE", help="write the tables to this file too")
    parser.add_argument(
        "--weights",
        metavar="DIR",
        help="measure AP, and top-1 of table 2, with the checkpoints in this folder, each named after its config: "
        "h-4_coco-384.pth; or with the best ones of the runs in it: h-4_coco-384/best_*.pth",
    )
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="measure AP with the model zoo's weights, downloaded if necessary",
    )
    parser.add_argument("--speed", choices=BACKENDS, help="measure frames per second of the network alone")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="duration for each network (default: %(default)s)"
    )
    parser.add_argument("--num-threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--power", action="store_true", help="measure watts with this machine's sensor")
    parser.add_argument("--watts", type=float, help="watts to divide by, where there is no sensor")
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.power and args.watts is not None:
        parser.error("--power measures the watts that --watts states: give one of them")
    if (args.power or args.watts is not None) and args.speed is None:
        parser.error("watts are measured while the network runs: give --speed too")
    if args.seconds <= 0 or args.num_threads < 1 or (args.watts is not None and args.watts <= 0):
        parser.error("expected --seconds, --num-threads and --watts above 0")
    return args


def main(argv: list[str] | None = None) -> None:
    """Count, measure and print."""
    args = parse_args(argv)
    from ehrpose.analysis.paper import tables
    from ehrpose.analysis.paper.published import COMPACT, SYSTEMS
    from ehrpose.files import write_text

    root = Path(__file__).resolve().parents[2]
    others = tables.other_configs(root) if args.others else []
    named = [
        system.config for system in SYSTEMS if system.config is not None and set(args.tables) & {3, 4, 5}
    ]
    compact = [config for row in COMPACT for config in row.configs] if 2 in args.tables else []
    configs = [config for config in [*compact, *named, *others] if (root / config).is_file()]
    measured = {config: tables.count(root / config, args.cfg_options) for config in configs}
    _measure_ap(args, root, measured)
    _measure_speed(args, root, {c: row for c, row in measured.items() if c not in compact})
    made = {1: tables.table1}
    parts = [
        made[number]() if number in made else getattr(tables, f"table{number}")(measured)
        for number in sorted(set(args.tables))
    ]
    if others:
        parts.append(tables.other_table(measured, others))
    parts.append(
        "Counted for square inputs of the stated size. 'Paper's counting': see `get_flops.py --help`.\n"
    )
    text = "\n".join(parts)
    print(text, end="")
    if args.out:
        write_text(args.out, text)
    if args.figure:
        from ehrpose.analysis.paper.figure import draw_figure

        print(f"figure: {draw_figure(measured, args.figure)}")


def _measure_ap(args: argparse.Namespace, root: Path, measured: dict) -> None:
    from ehrpose.analysis.paper.measurement import measure_ap
    from ehrpose.analysis.paper.published import SYSTEMS

    if args.weights is None and not args.fetch:
        return
    if args.weights is not None and not Path(args.weights).is_dir():
        raise FileNotFoundError(f"--weights: folder not found: {args.weights}")
    models = {system.config: system.model for system in SYSTEMS}
    for config, row in measured.items():
        files = _checkpoints(Path(args.weights), Path(config).stem) if args.weights else []
        weights = str(files[-1]) if files else models.get(config) if args.fetch else None
        if weights is None:
            continue
        try:
            measure_ap(row, root / config, weights, args.cfg_options)
        except (FileNotFoundError, ValueError) as error:
            if files:
                raise
            print(f"{config}: AP is not measured: {error}", file=sys.stderr)


def _checkpoints(folder: Path, name: str) -> list[Path]:
    """Return the checkpoints of a config, the one to take last."""
    runs = sorted((folder / name).glob("best_*.pth"), key=lambda path: path.stat().st_mtime)
    return [*runs, *folder.glob(f"{name}.pth")]


def _measure_speed(args: argparse.Namespace, root: Path, measured: dict) -> None:
    from ehrpose.analysis.paper.measurement import measure_speed
    from ehrpose.analysis.speed.power import find_sensors

    if args.speed is None:
        return
    sensor = None
    if args.power:
        sensors, problems = find_sensors()
        if not sensors:
            raise ValueError(
                f"--power: no sensor found ({'; '.join(problems)}): state the watts with --watts"
            )
        sensor = sensors[0]
        print(f"power: {sensor.source} ({sensor.scope})", file=sys.stderr)
    for config, row in measured.items():
        options = (args.speed, args.num_threads, args.seconds, sensor, args.watts, args.cfg_options)
        measure_speed(row, root / config, *options)


if __name__ == "__main__":
    run_cli(main)
