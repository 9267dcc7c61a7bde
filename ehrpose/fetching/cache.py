"""The folder that fetched weights are kept in.

``HOME/models/NAME/`` has the files as they were fetched, what they were converted to, and ``record.json``, which lists
both with their hashes. A file is used only if the record has its hash.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ehrpose.files import make_parent, write_text
from ehrpose.model_zoo import ZooModel
from ehrpose.transfer import file_digests
from ehrpose.web_files import is_plain_name

HOME_VARIABLE = "EHRPOSE_HOME"
RECORD = "record.json"
_FORMAT = 1


class Record(NamedTuple):
    """What is in a model's folder.

    Attributes:
        used: Names of the files that are used, the one to open first.
        sha256: Name of each file, also of those that were converted, to its hash.
        origin: What the files were fetched and converted as: ``origin_of`` at that time.
    """

    used: List[str]
    sha256: Dict[str, str]
    origin: Dict[str, Any]


def home() -> Path:
    """Return the cache's folder: EHRPOSE_HOME, or the user's cache folder; it may not exist yet."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(os.path.abspath(Path(chosen).expanduser()))
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("ehrpose", appauthor=False))


def folder_of(model: ZooModel) -> Path:
    """Return a model's folder, which may not exist.

    Raises:
        ValueError: The model's name cannot be that of a folder.
    """
    if not is_plain_name(model.name):
        raise ValueError(f"model {model.name!r}: the name cannot be that of a folder")
    return home() / "models" / model.name


def lock_of(model: ZooModel) -> Path:
    """Return the file that is locked while a model's folder changes; its own folder is created."""
    path = folder_of(model).with_name(f".{model.name}.lock")
    make_parent(path)
    if not os.access(path.parent, os.W_OK):
        reason = f"weights cannot be kept here, set {HOME_VARIABLE} to another folder"
        raise PermissionError(errno.EACCES, reason, str(path.parent))
    return path


def read_record(folder: Path) -> Optional[Record]:
    """Return the record of a folder; None if there is none that can be used."""
    try:
        content: Any = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            return None
        record = Record(list(content["used"]), dict(content["sha256"]), dict(content["origin"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    is_whole = record.used and set(record.used) <= set(record.sha256)
    return record if is_whole and all(map(is_plain_name, record.sha256)) else None


def write_record(folder: Path, used: Sequence[Path], fetched: Sequence[Path], origin: Dict[str, Any]) -> None:
    """Write the record of a folder with the hashes that its files have now."""
    sha256 = {path.name: file_digests(path)["sha256"] for path in dict.fromkeys([*fetched, *used])}
    content = {
        "format": _FORMAT,
        "used": [path.name for path in used],
        "sha256": sha256,
        "origin": origin,
    }
    write_text(folder / RECORD, json.dumps(content, indent=1) + "\n")


def damaged(folder: Path, record: Record, name: str) -> Optional[str]:
    """Say what is wrong with a file of the record; None if it is as it was."""
    path = folder / name
    if not path.is_file():
        return f"{path} is missing"
    digest = file_digests(path)["sha256"]
    if digest != record.sha256[name]:
        return f"{path} has changed: SHA-256 {digest}, expected {record.sha256[name]}"
    return None


def kept_bytes(model: ZooModel) -> int:
    """Return the bytes of a model's folder; 0 if nothing is kept."""
    folder = folder_of(model)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def is_fetched(model: ZooModel) -> bool:
    """Whether a model can be used without network; hashes are not compared here."""
    if model.remote is None:
        return False
    folder = folder_of(model)
    record = read_record(folder)
    names = [file.name for file in model.remote.files] if record is None else record.used
    return all((folder / name).is_file() for name in names)
