"""Train on a cluster of Ray: python tools/ray_train.py CONFIG --workers 2 [options of train.py].

Ray starts the processes and connects them; each runs train.py's command, and always resumes, so that it goes on where a
process or node was lost. All nodes see config, data and --work-dir under the same names.
"""

from __future__ import annotations

import argparse
import os

from ehrpose.cli import parse_command, run_cli
from ehrpose.commands import train as command
from ehrpose.config_names import find_config


def main() -> None:
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
    own, words = parser.parse_known_args()
    args = parse_command(__doc__, command, words)
    run_cli(lambda: train(own, args, words))


def train(own: argparse.Namespace, args: argparse.Namespace, words: list[str]) -> None:
    """Train in Ray's processes; mistakes in the command are found before any of them starts."""
    if own.workers < 1 or own.cpus < 1:
        raise ValueError(f"--workers and --cpus must be at least 1, got {own.workers} and {own.cpus}")
    from ehrpose.config import load_config

    load_config(find_config(args.config), args.cfg_options)
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    settings = {"OMP_NUM_THREADS": str(own.cpus), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    ray.init(address=own.address, runtime_env={"env_vars": settings})
    work_dir = os.path.abspath(args.work_dir or "work_dirs/ray")
    trainer = TorchTrainer(
        run,
        train_loop_config={"words": words, "folder": os.getcwd()},
        scaling_config=ScalingConfig(
            num_workers=own.workers, use_gpu=own.gpu, resources_per_worker={"CPU": own.cpus}
        ),
        # Ray's own records; our checkpoints are in the work_dir itself.
        run_config=RunConfig(
            name="ray", storage_path=work_dir, failure_config=FailureConfig(max_failures=own.max_failures)
        ),
    )
    try:
        trainer.fit()
    except RuntimeError as error:  # TrainingFailedError, of which Ray has printed the processes' own errors
        raise SystemExit(f"error: Ray gave up: {error}") from None


def run(config: dict) -> None:
    """Run the command in one of Ray's processes, which are already connected."""
    os.chdir(config["folder"])
    args = parse_command(__doc__, command, [*config["words"], "--launcher", "pytorch"])
    args.resume = args.resume or "auto"
    command.run(args)


if __name__ == "__main__":
    main()
