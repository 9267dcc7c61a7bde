"""What the pages of the documentation say: commands, code, paths and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")]
PAGES = sorted([*TOP, *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.S | re.M)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"^(?:configs|tools|demo|ehrpose|docs|requirements|tests|checkpoints)/[\w./*-]*[\w*/]$")
_SCRIPT = re.compile(r"^\w+\.py$")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [body for _, kind, body in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> Iterator[list[str]]:
    """Yield each command of the shell blocks, and each complete inline one, as words."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from _split(line)
    for span in prose_spans(page):
        if re.match(r"(python3? |make |bash |ehrpose )", span) and "..." not in span:
            yield from _split(span)


def prose_spans(page: Path) -> list[str]:
    """Return the inline code outside of blocks, including code that a line break splits."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def paths(page: Path) -> set[str]:
    """Return the project's paths that a page names in inline code and in commands."""
    words = {span for span in prose_spans(page)} | {word for words in commands(page) for word in words}
    return {word for word in words if _PATH.match(word)}


def scripts(page: Path) -> set[str]:
    """Return script names without a folder, such as ``get_flops.py``."""
    return {span.split()[0] for span in prose_spans(page) if span.split() and _SCRIPT.match(span.split()[0])}


def links(page: Path) -> list[str]:
    """Return the targets of links that stay inside the project."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [
        target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def _split(line: str) -> Iterator[list[str]]:
    words = shlex.split(line.strip(), comments=True)
    command: list[str] = []
    for word in [*words, "&&"]:
        if word in ("&&", "||", "|", ";"):
            while command and (command[0] == "sudo" or re.match(r"^[A-Z_]+=", command[0])):
                command.pop(0)
            if command:
                yield command
            command = []
        else:
            command.append(word)
