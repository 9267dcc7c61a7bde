"""Looking into files and folders of labels, to tell formats apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, List

# Files looked into, at most, before a folder counts as not being of a format.
_MOST = 20


def json_files(path: Path) -> List[Path]:
    """Return the file itself, or the first JSON files of a folder and its subfolders, sorted."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    found = []
    for file in sorted(path.rglob("*.json")):
        found.append(file)
        if len(found) == _MOST:
            break
    return found


def json_contents(path: Path) -> Iterator[Any]:
    """Yield the content of each of ``json_files`` that is JSON."""
    for file in json_files(path):
        try:
            yield load(file)
        except ValueError:
            continue


def load(path: Path) -> Any:
    """Return a JSON file's content.

    Raises:
        ValueError: It is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
