"""Logs that do not end a run: where one cannot be written, lines of it are missing, and one warning says so.

A checkpoint that cannot be written ends a run (``ehrpose.engine.checkpoint``), a log is not worth that.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.visualization import LocalVisBackend, Visualizer

from ehrpose.files import write_text
from ehrpose.visualization.drawing import write_picture

_LOGGING_METHODS = ("add_config", "add_graph", "add_image", "add_scalar", "add_scalars", "close")
_GUARDED = "_ehrpose_guarded"


class WholeFileBackend(LocalBackend):
    """MMEngine's local files, of which text is written whole or not at all, with errors that name the file."""

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write a text file; missing folders are created. Errors as for ``ehrpose.files.write_text``."""
        if encoding.lower() == "utf-8":
            write_text(filepath, obj)
        else:
            super().put_text(obj, filepath, encoding)


def write_whole_files() -> None:
    """Let MMEngine write text files with ``WholeFileBackend``."""
    register_backend("local", WholeFileBackend, force=True, prefixes="")


def guard_logger(logger: logging.Logger) -> None:
    """Let a logger lose lines where its file cannot be written.

    Python's logging would print a traceback for each, and MMEngine writes to the file past it too.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler) and not isinstance(handler.stream, _LossyFile):
            handler.stream = _LossyFile(handler.stream, handler.baseFilename)  # type: ignore[assignment]


class _LossyFile:
    """A log file that is written as far as its disk allows."""

    def __init__(self, file: Any, path: str):
        self._file, self._warn = file, _Warning(f"{path} is incomplete")

    def write(self, text: str) -> None:
        with self._warn.instead():
            self._file.write(text)

    def flush(self) -> None:
        with self._warn.instead():
            self._file.flush()

    def close(self) -> None:
        with self._warn.instead():
            self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def guard_visualizer(visualizer: Visualizer) -> None:
    """Let the log writers of a visualizer, such as TensorBoard's, lose values where they cannot be written.

    MMEngine's local one goes on with the next value, and its files have whole lines only. Others end with the first
    error.
    """
    for backend in visualizer._vis_backends.values():
        if not hasattr(backend, _GUARDED):
            _guard_backend(backend)
    _quieten_threads()


def _guard_backend(backend: Any) -> None:
    is_local = isinstance(backend, LocalVisBackend)
    ends = "is incomplete" if is_local else f"of {type(backend).__name__} ends"
    warn = _Warning(f"{backend._save_dir} {ends}")
    setattr(backend, _GUARDED, warn)
    if is_local:
        backend._dump = _whole_line(backend._dump)
        backend.add_config = functools.partial(_write_config, backend)
        backend.add_image = functools.partial(_write_image, backend)
    for name in _LOGGING_METHODS:
        if hasattr(backend, name):
            setattr(backend, name, _guarded(backend, getattr(backend, name), warn, is_local))


def _guarded(backend: Any, method: Callable, warn: _Warning, goes_on: bool) -> Callable:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> None:
        if warn.given and not goes_on and method.__name__ != "close":
            return
        ready = backend._env_initialized
        try:
            method(*args, **kwargs)
        except OSError as error:
            backend._env_initialized = ready  # its folder may be missing still
            warn(error)

    return call


def _whole_line(dump: Callable) -> Callable:
    """Return MMEngine's function that appends a line, so that it removes what it wrote of one before an error."""

    def call(value: dict, path: str, *args: Any) -> None:
        size = os.path.getsize(path) if os.path.exists(path) else 0
        try:
            dump(value, path, *args)
        except OSError:
            with suppress(OSError):
                os.truncate(path, size)
            raise

    return call


def _write_config(backend: Any, config: Config, **_: Any) -> None:
    write_text(backend.experiment._config_save_file, config.pretty_text)


def _write_image(backend: Any, name: str, image: Any, step: int = 0, **_: Any) -> None:
    write_picture(Path(backend.experiment._img_save_dir, f"{name}_{step}.png"), image[..., ::-1])


def _quieten_threads() -> None:
    """Let a thread of TensorBoard that cannot write end without a traceback: its next call raises the same error."""
    if hasattr(threading.excepthook, _GUARDED):
        return
    former = threading.excepthook

    def ended(args: Any) -> None:
        if not (
            issubclass(args.exc_type, OSError) and type(args.thread).__module__.startswith("tensorboard")
        ):
            former(args)

    setattr(ended, _GUARDED, True)
    threading.excepthook = ended


class _Warning:
    """A line on stderr, once."""

    def __init__(self, what: str):
        self.what, self.given = what, False

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Warn in place of an error of the disk."""
        try:
            yield
        except OSError as error:
            self(error)

    def __call__(self, error: OSError) -> None:
        if not self.given:
            reason = os.strerror(error.errno) if error.errno else str(error)
            print(f"warning: the log {self.what}: {reason}", file=sys.stderr)
        self.given = True
