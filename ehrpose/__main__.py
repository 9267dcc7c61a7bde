"""The command ``ehrpose``, also ``python -m ehrpose``: predict, train, test, export, benchmark.

Each command imports what it needs when it runs: help and completion stay fast, and commands that do not need torch
run without it.
"""

# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import difflib
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Sequence

from ehrpose.cli import USER_ERROR, refuse_unknown, run_cli
from ehrpose.version import __version__

# Command, which is also the module with ``add_arguments`` and ``run``, and what it does.
COMMANDS = {
    "predict": "detect people in images, videos and camera streams",
    "batch": "process many videos and images; resumes where it stopped",
    "train": "train a model",
    "tune": "search for the values of a config that give the best validation",
    "config": "list configs, or print one to start your own from",
    "test": "evaluate a model on a dataset",
    "classify": "say what photos show, with a classifier",
    "deploy": "export a model for a device",
    "benchmark": "compare the speed of models, backends and precisions",
    "convert": "convert labels between formats of labelling tools",
    "models": "list zoo models; fetch, verify and remove published weights",
    "check": "look for faults in the labels and photos of a data set",
    "info": "print versions, devices and models for a bug report",
}


def build_parser(chosen: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, with the options of the ``chosen`` commands."""
    parser = argparse.ArgumentParser(
        prog="ehrpose", description="Real-time multi-person 2D pose estimation for small devices."
    )
    parser.add_argument("--version", action="version", version=f"ehrpose {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        if name in chosen:
            module = import_module(f"ehrpose.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, parser=command)
    return parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; ``run`` of the result is the command's function."""
    words = list(sys.argv[1:] if argv is None else argv)
    completes = "_ARGCOMPLETE" in os.environ
    if words and not completes and not words[0].startswith("-") and words[0] not in COMMANDS:
        _refuse(words[0])
    parser = build_parser(list(COMMANDS) if completes else words[:1])
    if completes:
        _complete(parser)
    if not words:
        parser.print_help()
        raise SystemExit(0)
    args, rest = parser.parse_known_args(words)
    refuse_unknown(args.parser, rest)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen command; user errors end it with one line."""
    args = parse_args(argv)
    run_cli(lambda: args.run(args))


def _refuse(command: str) -> None:
    """End with one line about a command that does not exist."""
    near = difflib.get_close_matches(command, COMMANDS, n=1, cutoff=0.5)
    if near:
        hint = f"did you mean {near[0]}?"
    elif Path(command).exists():
        hint = f"to find people in it: ehrpose predict {command}"
    else:
        hint = f"expected one of {', '.join(COMMANDS)}"
    print(f"error: no command {command!r}; {hint}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


def _complete(parser: argparse.ArgumentParser) -> None:
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)


if __name__ == "__main__":
    main()
