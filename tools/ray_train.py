"""Train on a cluster of Ray: python tools/ray_train.py CONFIG --workers 2 [options of train.py].

Ray starts the processes and connects them; each runs train.py's command, and always resumes, so that it goes on where a
process or node was lost. All nodes see config, data and --work-dir under the same names.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from ehrpose.cli import refuse_unknown, run_cli
from ehrpose.commands import train as command
from ehrpose.config_names import find_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--cpus", type=int, default=1, help="CPU cores and threads of each (default: 1)")
    parser.add_argument("--gpu", action="store_true", help="one GPU for each")
    parser.add_argument(
        "--max-failures", type=int, default=3, help="times to go on after a loss (default: 3)"
    )
    parser.add_argument("--address", help="a running cluster, or auto (default: start one on this machine)")
    command.add_arguments(parser)
    args, rest = parser.parse_known_args(argv)
    refuse_unknown(parser, rest)
    return args


def main(args: argparse.Namespace) -> None:
    """Train in Ray's processes; mistakes in the command are found before any of them starts."""
    if args.workers < 1 or args.cpus < 1:
        raise ValueError(f"--workers and --cpus must be at least 1, got {args.workers} and {args.cpus}")
    from ehrpose.config import load_config

    cfg = load_config(find_config(args.config), args.cfg_options)
    args.work_dir = os.path.abspath(command.run_folder(cfg, args.work_dir))
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    settings = {"OMP_NUM_THREADS": str(args.cpus), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    ray.init(address=args.address, runtime_env={"env_vars": settings})
    trainer = TorchTrainer(
        train,
        train_loop_config={"args": args, "folder": os.getcwd()},
        scaling_config=ScalingConfig(
            num_workers=args.workers, use_gpu=args.gpu, resources_per_worker={"CPU": args.cpus}
        ),
        # Ray's own records; our checkpoints are in the work_dir itself.
        run_config=RunConfig(
            name="ray",
            storage_path=args.work_dir,
            failure_config=FailureConfig(max_failures=args.max_failures),
        ),
    )
    try:
        trainer.fit()
    except RuntimeError as error:  # TrainingFailedError, of which Ray has printed the processes' own errors
        raise SystemExit(f"error: Ray gave up: {error}") from None


def train(config: dict) -> None:
    """Run train.py's command in one of Ray's processes, which are already connected."""
    os.chdir(config["folder"])
    args = config["args"]
    args.launcher, args.resume = "pytorch", args.resume or "auto"
    command.run(args)


if __name__ == "__main__":
    arguments = parse_args()
    run_cli(lambda: main(arguments))
