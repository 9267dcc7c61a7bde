"""What can be checked of the Dockerfiles without Docker: sources, extras, pinned versions, the user."""

from __future__ import annotations

import fnmatch
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "docker").glob("Dockerfile*"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return name and arguments of each instruction, with continued lines joined."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(words[0], words[1]) for words in (line.split(None, 1) for line in joined if line.strip())]


def pip_installs(path: Path) -> list[list[str]]:
    """Return the words of each pip install."""
    commands = [part for name, text in instructions(path) if name == "RUN" for part in text.split("&&")]
    words = [shlex.split(command) for command in commands]
    return [line[line.index("pip") + 2 :] for line in words if "pip" in line and "install" in line]


def context_sources(path: Path) -> list[str]:
    """Return what is copied or mounted from the project."""
    found = []
    for name, text in instructions(path):
        if name == "COPY" and "--from=" not in text:
            found += text.split()[:-1]
        mounts = re.findall(r"--mount=(\S+)", text)
        found += [re.search(r"source=([^,]+)", m).group(1) for m in mounts if "from=" not in m]
    return found


def pinned(name: str) -> str:
    """Return the version of requirements/constraints.txt."""
    text = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8")
    return re.search(rf"^{re.escape(name)}==(\S+)$", text, re.M).group(1)


def test_there_is_one_for_devices_and_one_for_training():
    assert [path.name for path in FILES] == ["Dockerfile", "Dockerfile.cuda"]


@each_file
def test_what_is_copied_exists_and_is_sent_to_docker(path):
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert {name for name in sent if not (ROOT / name).exists()} == set()
    sources = context_sources(path)
    assert sources
    for source in sources:
        assert source == "." or ((ROOT / source).exists() and source.split("/")[0] in sent), source


@each_file
def test_what_setup_reads_is_sent_to_docker(path):
    sources = context_sources(path)
    needed = ["setup.py", "pyproject.toml", "README.md", "LICENSE", "model-index.yml", "requirements", "configs",
              "checkpoints", "ehrpose"]  # fmt: skip
    assert sources == ["."] or set(needed) <= set(sources)


@each_file
def test_pip_installs_existing_extras_and_pinned_packages(path):
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    extras = set(re.findall(r'"(\w+)"', re.search(r"extras = \{.*?\(([^()]*)\)\s*\}", setup, re.S).group(1)))
    packages = []
    for words in pip_installs(path):
        assert "--no-cache-dir" in words
        packages += [word for word in words if not word.startswith("-")]
    assert packages
    for word in packages:
        named = re.search(r"\[(.+)\]$", word)
        assert named is None or set(named.group(1).split(",")) <= extras, word
        is_file = any(fnmatch.fnmatch(word, pattern) for pattern in ("/wheels/*", ".*", "*constraints.txt"))
        assert is_file or "==" in word, f"{word} has no version"
    assert f"opencv-python-headless=={pinned('opencv-python')}" in packages


@each_file
def test_the_container_runs_ehrpose_as_a_user_without_rights(path):
    steps = instructions(path)
    assert ("ENTRYPOINT", '["ehrpose"]') in steps
    assert [text for name, text in steps if name == "USER"] == ["1000"]
