"""What all command-line tools share: options, and errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

DEBUG_VARIABLE = "EHRPOSE_DEBUG"
# What the user can set right, beside an unknown type that MMEngine's registries report as KeyError.
_USER_ERRORS = (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
# Exit codes: 2 for what the user can set right on the command line or in the config, 1 for a run that broke.
USER_ERROR, RUN_ERROR = 2, 1
_RUN_ERRORS = ("CheckpointError", "NonFiniteLossError", "WriteError")


def run_cli(main: Callable[[], None]) -> None:
    """Run a tool; end user errors with one line on stderr and exit code 2, broken runs with exit code 1.

    With EHRPOSE_DEBUG=1 in the environment errors keep their traceback.
    """
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        main()
        return
    try:
        main()
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        print(f"error: {_one_line(error)} ({DEBUG_VARIABLE}=1 shows where)", file=sys.stderr)
        sys.exit(code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _exit_code(error: Exception) -> int | None:
    """Return the exit code of an error, None for a fault of the program."""
    if type(error).__name__ in _RUN_ERRORS:
        return RUN_ERROR
    if isinstance(error, _USER_ERRORS) or (isinstance(error, KeyError) and "registry" in str(error)):
        return USER_ERROR
    return None


def _one_line(error: Exception) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Caught "):  # from a worker process: its traceback, the message last
        return lines[-1].split(": ", 1)[-1]
    return " ".join(line.strip() for line in lines)


class CfgOptions(argparse.Action):
    """``KEY=VALUE ...`` as a dict, by MMEngine's DictAction, loaded only when it is used: help stays fast."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from mmengine.config import DictAction

        wrong = [value for value in values if "=" not in value]
        if wrong:
            raise argparse.ArgumentError(self, f"wanted KEY=VALUE, got {wrong[0]!r}")
        DictAction(self.option_strings, self.dest, nargs=self.nargs)(
            parser, namespace, values, option_string or self.dest
        )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add the options with which launchers start several processes."""
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started this process",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=None, help=argparse.SUPPRESS)


def add_display(parser: argparse.ArgumentParser) -> None:
    """Add the options that draw predictions."""
    parser.add_argument("--show-dir", help="folder for pictures of the predictions")
    parser.add_argument("--show", action="store_true", help="show the predictions in a window")
    parser.add_argument("--interval", type=int, default=1, help="draw every n-th image")
    parser.add_argument("--wait-time", type=float, default=1, help="seconds that a picture is shown")
