"""One trial: a training in a process of its own, which reports each validation and may be stopped there."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import find_latest_checkpoint
from mmengine.utils import import_modules_from_strings

from ehrpose.engine.runner import build_runner
from ehrpose.files import DISK_ERRORS

# How a trial ends: as planned, stopped by the study, by an error of its own; by one of the user before the first step,
# which other trials would meet too; by a disk that cannot be written to.
DONE, STOPPED, FAILED, REFUSED, UNWRITTEN = "done", "stopped", "failed", "refused", "unwritten"
_USER_ERRORS = (ValueError, KeyError, OSError, ImportError)
# Seconds that a process has to end by itself.
_PATIENCE = 10.0


@dataclass(frozen=True)
class Ended:
    """How a trial ended, one of the names above, and the error's text where there was one."""

    how: str
    reason: str = ""


def run_trial(cfg: Config, work_dir: Path, metric: str, on_value: Callable[[int, float], bool]) -> Ended:
    """Train a config in another process; one that was interrupted goes on from its last checkpoint.

    The process ends with this one, however this one ends. What takes it down, such as a lack of memory, leaves this
    one alone.

    Args:
        cfg: Config of the trial.
        work_dir: Folder of the trial, for logs and checkpoints.
        metric: What is reported, as in the log: ``coco/AP``.
        on_value: Called at each validation with the number of iterations done and the metric; returns whether the
            training goes on.
    """
    here, there = multiprocessing.Pipe()
    arguments = (cfg.to_dict(), cfg.filename, str(work_dir), metric, there)
    process = _context().Process(target=_train, args=arguments, name=f"trial {work_dir.name}")
    process.start()
    there.close()
    ended = None
    try:
        with contextlib.suppress(EOFError, ConnectionResetError):
            while ended is None:
                message = here.recv()
                if isinstance(message, Ended):
                    ended = message
                else:
                    here.send(on_value(*message))
    finally:
        here.close()
        if ended is None and process.exitcode is None:
            process.join(1.0)
        if ended is None:
            process.terminate()
        process.join(_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
    return ended or Ended(FAILED, _death(process.exitcode))


def _context() -> Any:
    """Return how processes start: from one that has imported torch once, where the system can do that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _death(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"its process ended with exit code {exitcode}"
    name = signal.Signals(-exitcode).name if -exitcode in list(signal.Signals) else f"signal {-exitcode}"
    memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{memory}"


class ReportHook(Hook):
    """Send each validation's metric to the study and end the training if it says so.

    Args:
        metric: Name, as in the log.
        connection: To the study.

    Raises:
        ValueError: The validation has no such metric, or it is not finite.
    """

    def __init__(self, metric: str, connection: Connection):
        self.metric, self.connection = metric, connection
        self.has_stepped = self.is_stopped = False

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        self.has_stepped = True

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        """Report, wait for the answer and follow it."""
        if self.metric not in (metrics or {}):
            raise ValueError(f"unknown metric {self.metric!r}; available: {', '.join(metrics or {})}")
        value = float((metrics or {})[self.metric])
        if not math.isfinite(value):
            raise ValueError(f"{self.metric} is {value} after {runner.iter} iterations")
        self.connection.send((int(runner.iter), value))
        if not self.connection.recv():
            self.is_stopped = True
            runner.train_loop.stop_training = True


def _train(content: dict, filename: str | None, work_dir: str, metric: str, connection: Connection) -> None:
    """Train in the process of a trial, and send how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    multiprocessing.set_start_method(None, force=True)  # the config chooses that of its data loaders
    hook = ReportHook(metric, connection)
    try:
        cfg = Config(content, filename=filename)
        if cfg.get("custom_imports"):
            import_modules_from_strings(**cfg.custom_imports)
        if Path(work_dir, "last_checkpoint").is_file() and find_latest_checkpoint(work_dir):
            cfg.resume, cfg.load_from = True, None
        cfg.console_level = "WARNING"
        runner = build_runner(cfg, work_dir, "none")
        runner.register_hook(hook, priority="LOW")
        runner.train()
        ended = Ended(STOPPED if hook.is_stopped else DONE)
    except Exception as error:
        ended = Ended(_kind(error, hook.has_stepped), _one_line(error))
        if os.environ.get("EHRPOSE_DEBUG", "0") not in ("", "0"):
            sys.excepthook(type(error), error, error.__traceback__)
    with contextlib.suppress(OSError):  # the study has ended
        connection.send(ended)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _kind(error: BaseException, has_stepped: bool) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in DISK_ERRORS:
            return UNWRITTEN
        cause = cause.__cause__
    is_users = isinstance(error, _USER_ERRORS) and not has_stepped
    return REFUSED if is_users or str(error).startswith("unknown metric") else FAILED


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1 if lines[0].startswith("Caught ") else 0] if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
