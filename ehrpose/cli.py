"""Shared by all command-line tools: running them, one-line errors and ``--cfg-options``."""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import re
import select
import sys
from typing import Any, Callable, Optional, Sequence

from ehrpose.option_values import TypedText
from ehrpose.threads import prepare_process

DEBUG_VARIABLE = "EHRPOSE_DEBUG"
# Below the command line, errors name arguments: `calib_data`, or `decode="none"` with a value.
_ARGUMENT = re.compile(r"`([a-z]\w*)(?:=([^`]+))?`")
# Arguments whose option has a different name.
_RENAMED = {"input_dtype": "input-type", "folders": "photos", "tracker": "track"}
# Errors that the user can fix, besides the KeyError that MMEngine's registries raise for an unknown type.
_USER_ERRORS = (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
# Exit codes: 2 for errors that the user can fix on the command line or in the config, 1 for a failed run.
USER_ERROR, RUN_ERROR = 2, 1
_RUN_ERRORS = (
    "BatchError",
    "CheckpointError",
    "NonFiniteLossError",
    "StorageError",
    "TuningError",
    "WriteError",
)
# Packages that are optional, and the extra that has them.
_EXTRAS = {
    **dict.fromkeys(("mmcv", "mmengine", "pycocotools", "scipy", "tensorboard", "torch"), "train"),
    **dict.fromkeys(("nncf", "onnx", "onnxscript", "openvino"), "deploy"),
    **dict.fromkeys(("starlette", "uvicorn"), "web"),
    "av": "video",
    "optuna": "tune",
    "ray": "ray",
}
# What a disk that is full, failing, read-only or over its quota raises where nobody has named the file yet.
_DISK_ERRORS = {errno.ENOSPC, errno.EIO, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


def run_cli(main: Callable[[], None]) -> None:
    """Run a tool; user errors end with one line on stderr and exit code 2, failed runs with exit code 1.

    With EHRPOSE_DEBUG=1 in the environment, errors keep their traceback. The threads of this process are set up first,
    see ``ehrpose.threads``.
    """
    prepare_process()
    _let_stdout_print_any_name()
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        main()
        return
    try:
        main()
        sys.stdout.flush()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(141)
        code = _exit_code(error)
        if code is None:
            raise
        print(f"error: {as_options(_one_line(error))} ({DEBUG_VARIABLE}=1 shows where)", file=sys.stderr)
        sys.exit(code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _nobody_reads() -> bool:
    """Whether the reader of stdout, such as ``head``, has ended; if so, what is left of the output is dropped."""
    if not hasattr(select, "poll"):
        return False
    stdout = select.poll()
    stdout.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in stdout.poll(0)):
        return False
    # Python would flush into the closed pipe once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _let_stdout_print_any_name() -> None:
    """Escape what stdout cannot encode, as stderr does: a file's name must not end a run."""
    stdout: Any = sys.stdout  # None without a console; other programs may have replaced it
    if getattr(stdout, "errors", None) in ("strict", "surrogateescape") and hasattr(stdout, "reconfigure"):
        is_utf8 = str(stdout.encoding).lower().replace("-", "") == "utf8"
        if stdout.errors == "strict" or not is_utf8:  # surrogateescape with UTF-8 prints every name
            stdout.reconfigure(errors="backslashreplace")


def _exit_code(error: Exception) -> int | None:
    """Return the exit code of an error, None for a bug."""
    if type(error).__name__ in _RUN_ERRORS or (isinstance(error, OSError) and error.errno in _DISK_ERRORS):
        return RUN_ERROR
    if isinstance(error, ModuleNotFoundError) and _package(error) in _EXTRAS:
        return USER_ERROR
    if isinstance(error, _USER_ERRORS) or (isinstance(error, KeyError) and "registry" in str(error)):
        return USER_ERROR
    return None


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "").split(".")[0]


def _one_line(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        package = _package(error)
        return f'this needs {package}, which is not installed: pip install "ehrpose[{_EXTRAS[package]}]"'
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Caught "):  # from a worker process: its traceback, which ends with the message
        return lines[-1].split(": ", 1)[-1]
    return " ".join(line.strip() for line in lines)


def as_options(text: str) -> str:
    """Return an error's text with arguments in backquotes as options: `decode="none"` becomes --decode none."""

    def option(match: re.Match) -> str:
        name, value = match[1], match[2]
        words = ["--" + _RENAMED.get(name, name).replace("_", "-")]
        if value is not None and value != "True":
            words.append(value.strip("\"'"))
        return " ".join(words)

    return _ARGUMENT.sub(option, text)


def parse_command(
    doc: Optional[str], command: Any, argv: Optional[Sequence[str]] = None
) -> argparse.Namespace:
    """Parse the command line of a script that runs one of the commands.

    Args:
        doc: The script's docstring, shown as its help.
        command: Module of ``ehrpose.commands``, with ``add_arguments`` and ``run``.
        argv: Arguments after the script's name; None takes those of this process.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    args, rest = parser.parse_known_args(argv)
    refuse_unknown(parser, rest)
    return args


def refuse_unknown(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """End with one line, which suggests the nearest option, if a command line has words that are no arguments."""
    if not words:
        return
    known = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
    option = words[0].split("=")[0]
    near = difflib.get_close_matches(option, known, n=1, cutoff=0.6) if option.startswith("--") else []
    hint = f"; did you mean {near[0]}?" if near else f"; {parser.prog} --help lists them"
    parser.error(f"unrecognized arguments: {' '.join(words)}{hint}")


def run_command(doc: Optional[str], command: Any, argv: Optional[Sequence[str]] = None) -> None:
    """Run one of the commands from a script; arguments as for ``parse_command``, errors as in ``run_cli``."""
    args = parse_command(doc, command, argv)
    run_cli(lambda: command.run(args))


def add_trust_pt2(parser: Any) -> None:
    """Add ``--trust-pt2`` to a parser or a group of options."""
    parser.add_argument(
        "--trust-pt2",
        action="store_true",
        help="open .pt2 files, although loading one may run any code in it",
    )


def add_cfg_options(parser: Any, *aliases: str) -> None:
    """Add ``--cfg-options`` to a parser or a group of options."""
    parser.add_argument(
        "--cfg-options",
        *aliases,
        nargs="+",
        action=CfgOptions,
        metavar="KEY=VALUE",
        help="override config values, for example codec.input_size=256; text stays as typed",
    )


class CfgOptions(argparse.Action):
    """Collect ``KEY=VALUE ...`` in a dict; the values are parsed when the config that they change is known."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        wrong = [value for value in values if "=" not in value]
        if wrong:
            advice = "put a value with spaces in quotes"
            raise argparse.ArgumentError(self, f"expected KEY=VALUE, got {wrong[0]!r}: {advice}")
        options = dict(getattr(namespace, self.dest, None) or {})
        for value in values:
            key, text = value.split("=", 1)
            options[key.strip()] = TypedText(text)
        setattr(namespace, self.dest, options)
