"""Draw samples of a data set with their keypoints, heatmap targets and loss mask into pictures."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("--output-dir", default="work_dirs/browse", help="folder of the pictures")
    parser.add_argument("--phase", choices=["train", "val", "test"], default="train", help="whose data set")
    parser.add_argument(
        "--mode", choices=["original", "transformed"], default="transformed",
        help="photos as they are, or as the network gets them",
    )  # fmt: skip
    parser.add_argument("--max-item-per-dataset", type=int, default=50, help="the most pictures")
    parser.add_argument("--not-show", action="store_true", help="MMPose's flag; no window opens here anyway")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="replace config values, key=value"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Load the config, build the data set and draw it."""
    args = parse_args(argv)
    from mmengine.registry import init_default_scope

    from ehrpose.analysis.pictures.training_sample import draw_dataset
    from ehrpose.config import load_config, resolve
    from ehrpose.keypoint_meta import KeypointMeta
    from ehrpose.registry import DATASETS

    cfg = resolve(load_config(args.config, args.cfg_options))
    init_default_scope(cfg.get("default_scope", "ehrpose"))
    loader = cfg.get(f"{args.phase}_dataloader")
    if not loader:
        raise ValueError(f"{args.config} has no {args.phase}_dataloader")
    dataset = DATASETS.build(loader.dataset)
    meta = KeypointMeta.build(cfg.keypoints)
    count = 0
    for _path in draw_dataset(dataset, meta, args.output_dir, args.mode, args.max_item_per_dataset):
        count += 1
    print(f"{count} pictures of {len(dataset)} samples are in {args.output_dir}")


if __name__ == "__main__":
    run_cli(main)
