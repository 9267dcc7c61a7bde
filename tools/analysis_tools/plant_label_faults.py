"""Plant label faults into copies of a data set with links to its photos, and count those that ehrpose check names.

Example: python tools/analysis_tools/plant_label_faults.py data/coco --out /tmp/planted --seeds 10 11 12 13 14
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="COCO folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the copies, one for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of the faults")
    parser.add_argument("--each", type=int, default=5, help="faults of each of the 8 kinds")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Plant, check and print."""
    args = parse_args(argv)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ehrpose.analysis.training.label_faults import check_folder, plant_faults, print_scores, score

    seen: dict = {}  # most photos of a copy are links to the same files
    before = check_folder(args.data, seen)
    scores = []
    for seed in args.seeds:
        plants = plant_faults(args.data, args.out / str(seed), seed, args.each)
        scores.append(score(plants, check_folder(args.out / str(seed), seen), before))
        print_scores([seed], scores[-1:])
    print_scores(args.seeds, scores)


if __name__ == "__main__":
    run_cli(main)
