"""Draw samples of a dataset with keypoints, heatmap targets and loss mask."""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--output-dir", default="work_dirs/browse", help="output folder (default: %(default)s)"
    )
    parser.add_argument(
        "--phase",
        choices=["train", "val", "test"],
        default="train",
        help="which dataset (default: %(default)s)",
    )
    parser.add_argument(
        "--mode", choices=["original", "transformed"], default="transformed",
        help="images before or after the pipeline (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--max-item-per-dataset", type=int, default=50, help="maximum number of images")
    parser.add_argument(
        "--not-show", action="store_true", help="accepted for MMPose compatibility, has no effect"
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Load the config, build the dataset and draw it."""
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
    print(f"drew {count} of {len(dataset)} samples into {args.output_dir}")


if __name__ == "__main__":
    run_cli(main)
