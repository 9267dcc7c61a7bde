"""Every command, path, link and import of README and docs exists and parses; the short ones run."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, ROOT, anchors, blocks, commands, links, name_of, paths, scripts

from ehrpose.cli import parse_command

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)
# Programs that are not ours.
FOREIGN = {
    "git",
    "sudo",
    "taskset",
    "cd",
    ".",
    "apt",
    "nvpmodel",
    "jetson_clocks",
    "pre-commit",
    "scp",
    "trtexec",
    "unzip",
    "ffmpeg",
    "eval",
    "ln",
    "mkdir",
    "source",
    "curl",
    "npm",
    "docker",
    "shuf",
    "ray",
    "export",
    "g++",
    "cmake",
    "openvino_photo",
    "decode_tensors",
}
NOT_SCRIPTS = {"setup.py", "utils.py", "best.py"}
# Fast and without data: they are run unchanged.
RUN = ("get_flops.py", "print_config.py")


def load_script(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_arguments(module, words) -> None:
    """Parse the words with a script's own parser; some scripts run one of the commands."""
    try:
        if hasattr(module, "parse_args"):
            module.parse_args(words)
        else:
            parse_command(module.__doc__, module.command, words)
    except SystemExit as end:
        assert end.code == 0, f"its parser refuses {words}"  # noqa: PT017


def extras_of_setup() -> set[str]:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    names = re.search(r"extras = \{.*?\(([^()]*)\)\s*\}", setup, re.S).group(1)
    return set(re.findall(r'"(\w+)"', names)) | {"all"}


def check_pip(words) -> None:
    for word in words:
        for extras in re.findall(r"^\.?\w*\[([^\]]+)\]$", word):
            unknown = {name.strip() for name in extras.split(",")} - extras_of_setup()
            assert not unknown, f"setup.py has no extras {unknown}"
    for option, value in itertools.pairwise(words):
        if option in ("-c", "-r"):
            assert (ROOT / value).is_file()


def check_python(words) -> None:
    if words[0] == "-m" and words[1].startswith("ehrpose"):
        check_arguments(importlib.import_module(words[1]), words[2:])
    elif words[0] not in ("-m", "-c"):
        script = ROOT / words[0]
        assert script.is_file(), f"{words[0]} not found"
        check_arguments(load_script(script), words[1:])


def check_command(words) -> None:
    program = Path(words[0]).name or words[0]
    if program in ("python", "python3"):
        check_python(words[1:])
    elif program == "torchrun":
        check_python(list(itertools.dropwhile(lambda word: not word.endswith(".py"), words)))
    elif program == "ehrpose":
        check_arguments(importlib.import_module("ehrpose.__main__"), words[1:])
    elif program == "pip":
        check_pip(words[1:])
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.M), (
                f"the Makefile has no target {target}"
            )
    elif program == "ehrpose-web":
        check_arguments(importlib.import_module("ehrpose.web.server"), words[1:])
    elif program == "bash":
        assert (ROOT / words[1]).is_file(), f"{words[1]} not found"
    elif program not in FOREIGN:
        raise AssertionError(f"unknown program {program}: name it in FOREIGN, or mend the page")


@each_page
def test_commands_exist_and_their_options_too(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    problems = []
    for words in commands(page):
        try:
            check_command(words)
        except (AssertionError, AttributeError, ImportError, IndexError) as error:
            problems.append(f"{' '.join(words)}: {error}")
    assert not problems


@each_page
def test_paths_exist(page):
    missing = [path for path in paths(page) if not list(ROOT.glob(path.rstrip("/")))]
    assert not missing


@each_page
def test_scripts_that_are_named_exist(page):
    known = {
        p.name
        for folder in ("tools", "demo", "ehrpose", "tests", "configs")
        for p in (ROOT / folder).rglob("*.py")
    }
    assert not scripts(page) - known - NOT_SCRIPTS


@each_page
def test_links_lead_somewhere(page):
    broken = []
    for target in links(page):
        file, _, anchor = target.partition("#")
        linked = page if not file else (page.parent / file).resolve()
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", [p for p in PAGES if "docs" in p.parts], ids=name_of)
def test_the_sites_links_stay_inside_it(page):
    """MkDocs in strict mode only checks links below docs/."""
    site = ROOT / "docs"
    outside = [
        target
        for target in links(page)
        if not (page.parent / target.partition("#")[0]).resolve().is_relative_to(site)
    ]
    assert not outside


@each_page
def test_python_parses_and_what_it_imports_is_there(page):
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ehrpose"):
                module = importlib.import_module(node.module)
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{node.module} has no {missing}"


def short_commands() -> list[list[str]]:
    found = {}
    for page in PAGES:
        for words in commands(page):
            if len(words) > 1 and Path(words[1]).name in RUN and not {"CONFIG", "IN"} & set(words):
                found[" ".join(words)] = words
    return list(found.values())


@pytest.mark.parametrize("words", short_commands(), ids=" ".join)
def test_short_commands_run(words):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr


def test_every_page_is_in_the_sites_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    absent = [
        name_of(page)
        for page in PAGES
        if "docs" in page.parts and f"{page.relative_to(ROOT / 'docs').as_posix()}" not in menu
    ]
    assert not absent
