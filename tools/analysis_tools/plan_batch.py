"""Measure what an hour of video costs ehrpose batch on this machine, and simulate batches on more workers.

Example: python tools/analysis_tools/plan_batch.py --hours 1000 --workers 16 256 --joiners 16 --lifetime-h 24
"""

from __future__ import annotations

import argparse
import math

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ehrnet-small", help="zoo model or exported file")
    parser.add_argument("--backend", help="backend of an exported file")
    parser.add_argument("--format", default="jsonl", choices=["jsonl", "parquet"], help="of the tables")
    parser.add_argument("--track", action="store_true", help="give people ids")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="length of the drawn video that is measured"
    )
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--hours", type=float, default=1000.0, help="hours of video of a simulated batch")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16, 256, 4096], help="of one core each")
    parser.add_argument(
        "--lifetime-h", type=float, help="mean hours until a worker is taken away (default: never)"
    )
    parser.add_argument("--boot-s", type=float, default=60.0, help="seconds until another takes its place")
    parser.add_argument("--spread", type=float, default=0.2, help="of the logarithm of an item's time")
    parser.add_argument("--bandwidth", type=float, help="MB per second that all workers together can read")
    parser.add_argument("--joiners", type=int, default=1, help="cores of the machine that joins the parts")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure and simulate."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.batch_simulation import Fleet, cost_table, fleet_table
    from ehrpose.analysis.speed.batch_stages import measure_costs
    from ehrpose.batch.options import BatchOptions

    line = math.inf if args.bandwidth is None else 1e6 * args.bandwidth
    lifetime = math.inf if args.lifetime_h is None else args.lifetime_h
    fleets = [Fleet(count, args.boot_s, lifetime, args.spread, line, args.joiners) for count in args.workers]
    options = BatchOptions(
        args.model, device="cpu", backend=args.backend, format=args.format, track=args.track
    )
    costs = measure_costs(options, args.seconds, (args.size[0], args.size[1]))
    print(
        f"An hour of video, {args.size[0]} x {args.size[1]}, {costs.model}, one thread:\n\n{cost_table(costs)}\n"
    )
    print(
        f"{costs.video_bytes / 1e6:.0f} MB of video, {costs.part_bytes / 1e6:.1f} MB of parts in "
        f"{2 / costs.item_hours:.0f} files, {costs.table_bytes / 1e6:.1f} MB of table, {costs.people:.1f} people in a "
        f"frame; a worker starts in {costs.start:.1f} s\n"
    )
    print(f"Simulated, {args.hours:g} hours:\n\n{fleet_table(costs, args.hours, fleets, args.seed)}")


if __name__ == "__main__":
    run_cli(main)
