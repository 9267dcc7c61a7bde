"""Errors name arguments; on the command line they name options."""

from __future__ import annotations

import argparse
import ast
import errno
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ehrpose.__main__ import COMMANDS, build_parser
from ehrpose.__main__ import main as ehrpose
from ehrpose.cli import as_options, run_cli

ROOT = Path(__file__).resolve().parents[1]
# These are command lines, or write them.
COMMAND_LINES = {"ehrpose/cli.py", "ehrpose/__main__.py", "ehrpose/deploy/build_engine.py", "ehrpose/web/server.py",
                 "ehrpose/datasets/converters/command.py", "ehrpose/analysis/reliability/documents.py"}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("give photos with `calib_data`", "give photos with --calib-data"),
        ("export it with `decode='none'` to see", "export it with --decode none to see"),
        ('export it with `decode="none"`', "export it with --decode none"),
        ("`typed=True` and `dla_core=2`", "--typed and --dla-core 2"),
        ("use `rename` tail=NAME or `ignore` tail", "use --rename tail=NAME or --ignore tail"),
        ("needs `input_dtype='float32'`", "needs --input-type float32"),
        ("no `Class`, no `a.b`, no `", "no `Class`, no `a.b`, no `"),
    ],
)
def test_arguments_become_options(text, wanted):
    assert as_options(text) == wanted


def test_users_of_a_command_read_options(tmp_path, capsys):
    config = str(ROOT / "configs/ehrnet/demo_synthetic-128.py")

    def told(words):
        with pytest.raises(SystemExit) as exit_:
            ehrpose([*map(str, words)])
        assert exit_.value.code == 2
        return capsys.readouterr().err

    assert "with --calib-data" in told(["deploy", config, "none", "--precision", "int8"])
    assert "error: --half-range is for int8" in told(["deploy", config, "none", "--half-range"])
    assert "error: --launcher slurm needs SLURM_PROCID" in told(["train", config, "--launcher", "slurm"])
    assert "error: --cfg-options colour: " in told(["test", config, "x.pth", "--cfg-options", "colour=1"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_is_one_line(number, capsys):
    def main():
        raise OSError(number, os.strerror(number), "results.json")

    with pytest.raises(SystemExit) as exit_:
        run_cli(main)
    assert exit_.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "results.json" in line


def test_a_config_option_that_does_not_fit_is_named_as_the_argument_in_python():
    from ehrpose.config import load_config

    with pytest.raises(ValueError, match=r"^`cfg_options` colour: "):
        load_config(ROOT / "configs/ehrnet/demo_synthetic-128.py", {"colour": 1})


def test_debugging_shows_the_error_as_it_was_raised(monkeypatch):
    def fail():
        raise ValueError("give `calib_data`")

    monkeypatch.setenv("EHRPOSE_DEBUG", "1")
    with pytest.raises(ValueError, match="give `calib_data`"):
        run_cli(fail)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    found = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found.update(*map(options_of, action.choices.values()))
    return found


@pytest.fixture(scope="module")
def every_option() -> set[str]:
    """The options of all commands and scripts."""
    found = options_of(build_parser(list(COMMANDS)))

    def keep(parser, *_):
        found.update(options_of(parser))
        raise SystemExit

    scripts = [
        *(ROOT / "tools").rglob("*.py"),
        *(ROOT / "demo").glob("*.py"),
        ROOT / "ehrpose/deploy/build_engine.py",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", keep)
        for path in scripts:
            spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            if hasattr(module, "parse_args"):
                with pytest.raises(SystemExit):
                    module.parse_args([])
    return found


def texts_of_errors_and_docstrings() -> list[tuple[str, str]]:
    """Return file and text of each error and docstring below the command line."""
    found = []
    for path in sorted((ROOT / "ehrpose").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in COMMAND_LINES or name.startswith("ehrpose/commands/"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            texts = []
            if isinstance(node, (ast.Raise, ast.Yield)):
                texts = [
                    c.value
                    for c in ast.walk(node)
                    if isinstance(c, ast.Constant) and isinstance(c.value, str)
                ]
            elif isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                texts = [ast.get_docstring(node) or ""]
            found += [(name, text) for text in texts]
    return found


def test_below_the_command_line_nobody_names_options(every_option):
    named = [
        (name, word)
        for name, text in texts_of_errors_and_docstrings()
        for word in re.findall(r"(?<![\w-])--[a-z][\w-]+", text)
        if word in every_option
    ]
    assert named == []
    assert {"--calib-data", "--val-fraction", "--describe"} <= every_option


def test_every_argument_in_an_error_has_an_option(every_option):
    """Backquotes in errors are only for arguments: an option that no command has would be confusing."""
    without, count = [], 0
    for path in sorted((ROOT / "ehrpose").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Raise):
                continue
            text = "".join(
                c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)
            )
            for name in re.findall(r"`([a-z]\w*)(?:=|`)", text):
                count += 1
                option = as_options(f"`{name}`")
                if option not in every_option:
                    without.append((path.name, option))
    assert without == []
    assert count > 15


@pytest.mark.parametrize("encoding", ["cp1252", "cp1252:strict", "utf-8:strict", "ascii:surrogateescape"])
def test_any_name_can_be_printed(encoding):
    code = "from ehrpose.cli import run_cli; run_cli(lambda: print('a', '\\u5199', 'caf\\udc82', 'b'))"
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    name = "\u5199".encode() if encoding.startswith("utf-8") else rb"\u5199"
    assert done.stdout.split() == [b"a", name, rb"caf\udc82", b"b"]


def test_names_in_bytes_stay_as_they_are_where_they_can_be_printed():
    code = "from ehrpose.cli import run_cli; run_cli(lambda: print('caf\\udc82'))"
    env = {**os.environ, "PYTHONIOENCODING": "utf-8:surrogateescape"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, timeout=300, check=True)
    assert done.stdout.split() == [b"caf\x82"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_ends_early_gets_no_traceback():
    code = "from ehrpose.cli import run_cli\nrun_cli(lambda: print('line\\n' * 100000))"
    done = subprocess.run(
        f"{sys.executable} -c \"$CODE\" | head -1; echo ${{PIPESTATUS[0]}}", shell=True, executable="/bin/bash",
        env={**os.environ, "CODE": code}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == ["line", "141"]
