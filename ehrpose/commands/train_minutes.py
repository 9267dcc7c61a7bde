"""tools/train_minutes.py: training by the clock, from shards of photos, in as many runs as it takes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehrpose.commands.config_options import add_config_options
from ehrpose.commands.train import run_folder, set_amp, set_no_validate

# Never reached: the clock ends the training.
_ITERATIONS = 10**9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file or config name, whose schedule counts iterations")
    parser.add_argument("--minutes", type=float, required=True, help="length of the whole training")
    parser.add_argument("--out", type=Path, required=True, help="folder of latest.pth")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="length of this run")
    parser.add_argument(
        "--every", type=float, default=2.0, metavar="MINUTES", help="minutes between two files"
    )
    parser.add_argument("--max-mib", type=float, default=16.0, help="largest size of the file, MiB")
    parser.add_argument("--from-file", type=Path, metavar="FILE", help="go on from a latest.pth elsewhere")
    parser.add_argument(
        "--shards", type=Path, help="folder of pack_photos.py, unpacked to the work dir first"
    )
    parser.add_argument("--batch", type=int, help="photos per step (default: from the config)")
    parser.add_argument("--workers", type=int, help="processes that load photos (default: from the config)")
    parser.add_argument("--work-dir", type=Path, help="folder for logs (default: work_dirs/<config name>)")
    parser.add_argument("--no-amp", action="store_true", help="float32 instead of mixed precision")
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Train with the config and the options."""
    from ehrpose.config_names import find_config

    train_minutes(
        find_config(args.config),
        args.cfg_options,
        args.minutes,
        args.out,
        stop_after=args.stop_after,
        every=args.every,
        max_mib=args.max_mib,
        resume=args.from_file,
        shards=args.shards,
        batch=args.batch,
        workers=args.workers,
        work_dir=args.work_dir,
        amp=not args.no_amp,
    )


def train_minutes(
    config: str | Path,
    cfg_options: Mapping[str, Any] | None,
    minutes: float,
    out: Path,
    *,
    stop_after: float | None = None,
    every: float = 2.0,
    max_mib: float = 16.0,
    resume: Path | None = None,
    shards: Path | None = None,
    batch: int | None = None,
    workers: int | None = None,
    work_dir: Path | None = None,
    amp: bool = True,
) -> Any:
    """Train until the minutes are over; return the model.

    Args:
        config: Config file whose schedule counts iterations; its hooks stay, its learning rates and
            ``param_scheduler`` make way for ``TimeBudgetHook``'s.
        cfg_options: Dotted keys and values that override those of the config file.
        minutes: Length of the whole training, over all runs.
        out: Folder of ``latest.pth``. If it is there, training goes on from it.
        stop_after: Minutes of this run; None: all that are left.
        every: Minutes between two files.
        max_mib: Largest size of the file, MiB.
        resume: A file to go on from if ``out`` has none.
        shards: Folder of ``pack_photos``; unpacked below the work dir, unless they are already, as ``data_root``.
        batch: Photos per step; None: the config's.
        workers: Processes that load photos; None: the config's.
        work_dir: Folder for logs.
        amp: Mixed precision.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The config counts epochs, a file is damaged or does not fit, the work dir has photos of other
            shards, or no minutes are left.
    """
    from ehrpose.config import load_config
    from ehrpose.datasets.converters.shards import are_unpacked, unpack_photos
    from ehrpose.engine.hooks.time_budget import LATEST, MINUTES, PHOTOS
    from ehrpose.engine.runner import build_runner
    from ehrpose.models.weights.checkpoint import read_checkpoint

    cfg = load_config(config, cfg_options)
    if "max_iters" not in cfg:
        raise ValueError(f"{config} counts epochs: expected a config with max_iters, such as small_coco-320")
    latest = out / LATEST
    begin = latest if latest.is_file() else resume
    meta: Mapping[str, Any] = {}
    if begin is not None:
        meta = read_checkpoint(str(begin)).get("meta") or {}
        if MINUTES not in meta:
            raise ValueError(
                f"{begin} does not say how many minutes were spent: expected a {LATEST} of this tool"
            )
        cfg.load_from = str(begin)
        cfg.model.pop("init_cfg", None)
    spent = float(meta.get(MINUTES, 0.0))
    cfg.max_iters, cfg.param_scheduler = _ITERATIONS, None
    hook = {"type": "TimeBudgetHook", "minutes": minutes, "out": str(out), "every": every, "max_mib": max_mib}
    hook |= {"stop_after": stop_after, "spent": spent, "seen": int(meta.get(PHOTOS, 0))}
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or ()), hook]
    # Each run draws photos in another order; the files hold no place in it.
    seed = (cfg.get("randomness") or {}).get("seed") or 0
    cfg.randomness = {**(cfg.get("randomness") or {}), "seed": seed + int(meta.get("iter", 0))}
    set_no_validate(cfg, True)
    cfg.train_cfg.val_interval = _ITERATIONS
    cfg.default_hooks.checkpoint.update(interval=_ITERATIONS, save_best=None, save_last=False)
    set_amp(cfg, amp)
    loader = cfg.train_dataloader
    if batch is not None:
        loader.batch_size = batch
    if workers is not None:
        loader.num_workers = workers
        loader.persistent_workers = workers > 0
    folder = Path(run_folder(cfg, None if work_dir is None else str(work_dir)))
    if shards is not None:
        photos = folder / "photos"
        if not are_unpacked(shards, photos):
            unpack_photos(shards, photos)
        cfg.data_root = f"{photos}/"
    return build_runner(cfg, folder).train()
