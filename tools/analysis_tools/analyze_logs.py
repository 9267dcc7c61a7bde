"""Plot curves and print iteration times from the JSON logs of training runs (vis_data/*.json)."""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    plot = commands.add_parser("plot_curve", help="plot values of one or more logs")
    plot.add_argument("json_logs", nargs="+", help="log files, vis_data/*.json")
    plot.add_argument(
        "--keys",
        nargs="+",
        default=["loss"],
        help="values to plot, for example loss, lr, coco/AP (default: loss)",
    )
    plot.add_argument("--title", help="title of the plot")
    plot.add_argument("--legend", nargs="+", help="names of the curves: log by log, key by key")
    plot.add_argument("--backend", help="Matplotlib backend (default: Agg with --out)")
    plot.add_argument(
        "--style", default="default", help="Matplotlib style, for example ggplot (default: default)"
    )
    plot.add_argument("--out", help="plot to write, for example curve.png (default: show a window)")
    times = commands.add_parser("cal_train_time", help="print the time per iteration")
    times.add_argument("json_logs", nargs="+", help="log files, vis_data/*.json")
    times.add_argument(
        "--include-outliers", action="store_true", help="include the first record of each epoch"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run one of the commands."""
    args = parse_args(argv)
    from ehrpose.analysis.training.logs import plot_curves, read_log, summarize_times

    logs = {path: read_log(path) for path in args.json_logs}
    if args.command == "plot_curve":
        plot_curves(logs, args.keys, args.out, args.legend, args.title, args.style, args.backend)
        if args.out:
            print(f"wrote {args.out}")
        return
    for path, records in logs.items():
        times = summarize_times(records, args.include_outliers)
        print(f"{path}")
        print(f"  slowest epoch {times['slowest_epoch']}: {times['slowest']:.4f} s/iter")
        print(f"  fastest epoch {times['fastest_epoch']}: {times['fastest']:.4f} s/iter")
        print(f"  deviation between epochs: {times['std']:.4f} s/iter")
        print(f"  mean: {times['mean']:.4f} s/iter")


if __name__ == "__main__":
    run_cli(main)
