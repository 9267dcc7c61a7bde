"""Count the parameters and multiply-adds of a config's model."""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--input-shape",
        type=int,
        nargs="+",
        metavar=("H", "W"),
        help="input side, or height and width, px (default: input_size of the codec, or of a classifier's config)",
    )
    parser.add_argument("--batch-size", type=int, default=1, help="batch size (default: 1)")
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda:0, or meta to only trace shapes (default: cpu)"
    )
    parser.add_argument("--show-arch-info", action="store_true", help="list every counted layer")
    parser.add_argument(
        "--paper-counting",
        action="store_true",
        help="count like the papers: MBConv blocks and hourglass convolutions twice, transposed convolutions at their "
        "output size",
    )
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.input_shape and len(args.input_shape) > 2:
        parser.error(f"--input-shape takes one or two numbers, got {args.input_shape}")
    return args


def main(argv: list[str] | None = None) -> None:
    """Build the model and print its table."""
    args = parse_args(argv)
    import torch

    from ehrpose.config import load_config, resolve
    from ehrpose.models.complexity import count_complexity, format_complexity
    from ehrpose.registry import MODELS

    cfg = resolve(load_config(args.config, args.cfg_options))
    shape = args.input_shape or [cfg.get("codec", cfg).get("input_size")]
    if None in shape:
        raise ValueError(f"{args.config} has no codec to take the input size from: give --input-shape H W")
    height, width = shape[0], shape[-1]
    try:
        torch.empty(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {args.device} cannot be used: {str(error).splitlines()[0]}") from error
    with torch.device(args.device):
        model = MODELS.build(cfg.model)
    complexity = count_complexity(model, (height, width), args.batch_size, args.paper_counting)
    manner = "as in the paper" if args.paper_counting else "exactly"
    print(f"{args.config}: input {args.batch_size} x 3 x {height} x {width}, counted {manner}")
    print(format_complexity(complexity, args.show_arch_info))


if __name__ == "__main__":
    run_cli(main)
