"""The largest batch that fits into memory, found by training steps of growing batches in a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint
from mmengine.utils import import_modules_from_strings

from ehrpose.engine.memory_limit import available_bytes
from ehrpose.models.weights.checkpoint import read_checkpoint

# Share of the free memory that a step may take: loader processes and evaluation need some too.
SHARE = 0.8
# The chosen size, in the config and in checkpoints.
AUTO_BATCH = "auto_batch_size"
# No larger batch is tried, and none after this time, in seconds.
LARGEST, LONGEST = 256, 180.0


# Not -m: the package imports this module itself.
_CHILD = f"from {__name__} import main; from ehrpose.cli import run_cli; run_cli(main)"


@dataclass(frozen=True)
class Step:
    """A training step that ran: its batch size, the process's peak in bytes, and seconds."""

    batch: int
    peak: int
    seconds: float


@dataclass(frozen=True)
class BatchChoice:
    """The chosen batch size and what it follows from.

    Attributes:
        batch: Photos per step, a power of two that was tried.
        device: ``"cpu"`` or ``"cuda"``.
        limit: Bytes that a step was allowed to take.
        bytes_per_photo: Growth of the peak per photo; 0 if only one size ran.
        steps: The sizes that were tried.
        reason: Why no larger size was chosen.
    """

    batch: int
    device: str
    limit: int
    bytes_per_photo: float
    steps: tuple[Step, ...]
    reason: str

    def describe(self) -> str:
        """Return the choice in one line."""
        each = (
            f"{self.bytes_per_photo / 2**20:.1f} MiB per photo" if self.bytes_per_photo else "one size tried"
        )
        peak = next(step.peak for step in self.steps if step.batch == self.batch)
        return (
            f"batch size {self.batch} on {self.device}: {each}, {peak / 2**20:.0f} of {self.limit / 2**20:.0f} MiB; "
            f"{self.reason}"
        )


def batch_to_resume(cfg: Config, batch: int | str | None, work_dir: str | os.PathLike) -> int | None:
    """Return the batch size with which a run resumes that ``"auto"`` chose; None if this is no such run.

    Args:
        cfg: Config with ``resume`` and, for a certain checkpoint, ``load_from``.
        batch: What was asked for: a number, ``"auto"``, or None.
        work_dir: Folder of the run.

    Raises:
        ValueError: The number asked for is another one, or the run was not begun with ``"auto"`` but should resume so.
    """
    file = cfg.get("load_from") or find_latest_checkpoint(str(work_dir)) if cfg.get("resume") else None
    if file is None or "://" in str(file):
        return None
    stored = (read_checkpoint(file).get("message_hub") or {}).get("runtime_info", {}).get(AUTO_BATCH)
    if stored is None and batch == "auto":
        raise ValueError(
            f"{file} was trained without `batch=auto`: resume it without, so that it stays the same run"
        )
    if stored is not None and batch not in (None, "auto", stored):
        raise ValueError(
            f"{file} was trained with batches of {stored}, got `batch={batch}`: leave it out to resume"
        )
    return stored


def find_batch_size(cfg: Config, limit: int | None = None) -> BatchChoice:
    """Return the largest batch size, a power of two, with which the training steps of a config fit into memory.

    Args:
        cfg: Config, with references; its data and model are used, nothing is written.
        limit: Bytes that the process may take; None takes 80 % of what is free.

    Raises:
        ValueError: Not even one photo fits, or the training steps fail; the message has their error.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    limit = int(available_bytes(device) * SHARE) if limit is None else limit
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.pkl")
        file.write_bytes(pickle.dumps((cfg.to_dict(), cfg.filename)))
        command = [sys.executable, "-c", _CHILD, str(file), str(limit)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
    lines = [json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")]
    steps = tuple(Step(**line) for line in lines if "batch" in line)
    reason = next((line["reason"] for line in lines if "reason" in line), "")
    if done.returncode and not (
        steps and done.returncode < 0
    ):  # a kill is the system's answer to a large batch
        error = done.stderr.strip().splitlines()
        raise ValueError(f"`batch=auto`: a training step failed: {error[-1] if error else 'no message'}")
    return choose(steps, device, limit, reason or "the system ended the next one")


def choose(steps: tuple[Step, ...], device: str, limit: int, reason: str) -> BatchChoice:
    """Return the largest batch whose step stayed within the limit; see ``find_batch_size``."""
    fitting = [step for step in steps if step.peak <= limit]
    if not fitting:
        least = f"{steps[0].peak / 2**20:.0f} MiB" if steps else "more"
        raise ValueError(
            f"`batch=auto`: one photo needs {least}, {limit / 2**20:.0f} MiB are free for it; use a "
            "smaller input or model"
        )
    return BatchChoice(fitting[-1].batch, device, limit, _slope(steps), steps, reason)


def _slope(steps: tuple[Step, ...]) -> float:
    """Return the growth of the peak in bytes per photo, over the last sizes."""
    if len(steps) < 2:
        return 0.0
    first, last = steps[-2], steps[-1]
    return max(last.peak - first.peak, 0) / (last.batch - first.batch)


def growing_steps(run: Any, limit: int, photos: int) -> Iterator[Step | str]:
    """Run steps of 1, 2, 4, ... photos while the next is expected to fit; the last item is why it ends.

    Args:
        run: Function of a batch size that runs its steps and returns the peak in bytes.
        limit: Bytes that may be used.
        photos: Size of the data set.
    """
    steps: tuple[Step, ...] = ()
    begin, batch = time.monotonic(), 1
    while True:
        start = time.monotonic()
        try:
            peak = run(batch)
        except torch.OutOfMemoryError:
            yield f"{batch} does not fit"
            return
        step = Step(batch, peak, time.monotonic() - start)
        yield step
        steps = (*steps, step)
        batch *= 2
        # Buffers that a library allocates once make the first difference too large.
        expected = peak + _slope(steps) * batch / 2 if len(steps) > 2 else peak
        left = LONGEST - (time.monotonic() - begin)
        reason = _reason_to_stop(batch, photos, expected, limit, 2 * step.seconds > left)
        if reason:
            yield reason
            return


def _reason_to_stop(batch: int, photos: int, expected: float, limit: int, late: bool) -> str:
    if batch > photos:
        return f"the data set has {photos} photos"
    if batch > LARGEST:
        return "larger ones are not tried"
    if expected > limit:
        return f"{batch} would take about {expected / 2**20:.0f} MiB"
    return f"{batch} would take too long to try" if late else ""


class _Trainer:
    """Training steps of a config on copies of one of its photos."""

    def __init__(self, cfg: Config, folder: str):
        from ehrpose.engine import build_runner

        cfg.update(vis_backends=[], visualizer=None, log_level="ERROR", load_from=None, resume=False)
        cfg.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
        runner = build_runner(cfg, folder)
        loader = runner.build_dataloader(runner._train_dataloader, seed=0)
        self.photos, self.collate = len(loader.dataset), loader.collate_fn
        self.sample, self.model = loader.dataset[0], runner.model
        self.wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        self.model.train()

    def run(self, batch: int) -> int:
        for _ in range(2 if batch == 1 else 1):  # from the second one on, there is the optimizer's state
            self.model.train_step(self.collate([self.sample] * batch), self.wrapper)
        if torch.cuda.is_available():
            return torch.cuda.max_memory_reserved()
        import resource  # Linux, as is the reading of the limit

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print the steps of the config in the file, a line of JSON each."""
    content, filename = pickle.loads(Path(sys.argv[1]).read_bytes())
    cfg, limit = Config(content, filename=filename), int(sys.argv[2])
    if cfg.get("custom_imports"):
        import_modules_from_strings(**cfg.custom_imports)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _Trainer(cfg, folder)
        for item in growing_steps(trainer.run, limit, trainer.photos):
            said = {"reason": item} if isinstance(item, str) else asdict(item)
            print("@" + json.dumps(said), flush=True)
