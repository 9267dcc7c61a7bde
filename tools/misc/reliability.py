"""Try what breaks programs: damaged files (fuzz), long runs (soak), failing disks and kills (crash).

It also measures what the security page states.

  python tools/misc/reliability.py fuzz --minutes 5              every area, the minutes shared
  python tools/misc/reliability.py fuzz --areas photos --start 417 --cases 1    one case again
  python tools/misc/reliability.py soak --minutes 10             predict, then the web server
  python tools/misc/reliability.py crash --points 500            every command, its calls failing one by one
  python tools/misc/reliability.py photo-cost                    memory and time of reading photos, by format
  python tools/misc/reliability.py flipped-bits                  what the digest in checkpoints prevents

Fuzz, soak and crash print a table and exit with 1 if they found a fault. Nothing damaged is kept.
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    from ehrpose.analysis.reliability.crash import JOBS
    from ehrpose.analysis.reliability.fuzz import AREAS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    fuzz = jobs.add_parser("fuzz", help="damaged and generated input")
    fuzz.add_argument("--areas", nargs="+", choices=list(AREAS), default=list(AREAS), help="what to try")
    fuzz.add_argument("--minutes", type=float, default=5, help="time of all areas (default: %(default)s)")
    fuzz.add_argument("--cases", type=int, default=1_000_000, help="most cases of each area")
    fuzz.add_argument("--seed", type=int, default=0, help="seed of the cases (default: %(default)s)")
    fuzz.add_argument("--start", type=int, default=0, help="number of the first case")
    soak = jobs.add_parser("soak", help="a long run, watching memory and open files")
    soak.add_argument("--minutes", type=float, default=10, help="time of all areas (default: %(default)s)")
    soak.add_argument("--areas", nargs="+", choices=["predict", "web", "video"], default=["predict", "web"])
    soak.add_argument(
        "--video-hours", type=float, default=2, help="length of the video (default: %(default)s)"
    )
    soak.add_argument("--model", default="ehrnet-small", help="as for ehrpose predict (default: %(default)s)")
    crash = jobs.add_parser("crash", help="failing disks and kills")
    crash.add_argument("--areas", nargs="+", choices=list(JOBS), default=list(JOBS), help="what to try")
    crash.add_argument("--minutes", type=float, default=5, help="time of all areas (default: %(default)s)")
    crash.add_argument("--points", type=int, default=1_000_000, help="most faults and kills of all areas")
    crash.add_argument("--seed", type=int, default=0, help="seed of their order (default: %(default)s)")
    cost = jobs.add_parser("photo-cost", help="memory and time of reading photos")
    cost.add_argument("--repeats", type=int, default=100, help="repeats of each time (default: %(default)s)")
    bits = jobs.add_parser("flipped-bits", help="damaged checkpoints with and without digest")
    bits.add_argument("--copies", type=int, default=3000, help="copies of each format (default: %(default)s)")
    bits.add_argument("--seed", type=int, default=0, help="seed of the damage (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in ("minutes", "cases", "points", "repeats", "copies", "video_hours"):
        if getattr(args, name, 1) <= 0:
            option = name.replace("_", "-")
            parser.error(f"expected --{option} above 0, got {getattr(args, name)}")
    for name in ("seed", "start"):
        if getattr(args, name, 0) < 0:
            parser.error(f"expected --{name} of at least 0, got {getattr(args, name)}")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.job == "photo-cost":
        from ehrpose.analysis.reliability.photos import print_photo_cost

        print_photo_cost(args.repeats)
    elif args.job == "flipped-bits":
        from ehrpose.analysis.reliability.weights import print_flipped_bits

        print_flipped_bits(args.copies, args.seed)
    else:
        from ehrpose.analysis.reliability.results import print_results

        if not print_results(_results(args)):
            raise SystemExit(1)


def _results(args: argparse.Namespace) -> list:
    if args.job == "fuzz":
        from ehrpose.analysis.reliability.fuzz import fuzz

        return fuzz(args.areas, args.cases, 60 * args.minutes, args.seed, args.start)
    if args.job == "crash":
        from ehrpose.analysis.reliability.crash import crash

        return crash(args.areas, args.points, 60 * args.minutes, args.seed)
    from ehrpose.analysis.reliability.soak import soak

    return soak(args.model, args.areas, 60 * args.minutes, args.video_hours)


if __name__ == "__main__":
    run_cli(main)
