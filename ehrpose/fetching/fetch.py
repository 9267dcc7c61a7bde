"""Fetching a zoo model's weights: download, check, convert on arrival, keep."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from ehrpose.fetching.cache import damaged, folder_of, lock_of, read_record, write_record
from ehrpose.fetching.hub import download_from_hub, has_hub
from ehrpose.files import explained, make_parent, open_kept, put_in_place
from ehrpose.locks import locked
from ehrpose.model_zoo import ZooModel
from ehrpose.progress import Progress
from ehrpose.transfer import DownloadError, NoConnectionError, check_file, download
from ehrpose.web_files import RemoteWeights, WebFile

OFFLINE_VARIABLE = "EHRPOSE_OFFLINE"
# Version of the conversions: another one converts the fetched files again.
CONVERTER = 1
_RETRIES, _WAIT = 2, 0.5  # somebody waits for the model
# Gets the model, its files and its folder. Returns the files that are used from then on, all of them in that folder,
# the one to open first.
Arrive = Callable[[ZooModel, Sequence[Path], Path], Sequence[Path]]


class OfflineError(DownloadError):
    """A file is needed that is not in the cache, and nothing may be fetched."""


def is_offline() -> bool:
    """Whether EHRPOSE_OFFLINE forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "false", "no")


def fetch(model: ZooModel, arrive: Arrive) -> Path:
    """Return the file to open for a model with remote weights; on first use it is fetched and converted.

    Args:
        model: A zoo model with ``remote``.
        arrive: Converts what was fetched; called once.

    Raises:
        DownloadError: A file could not be fetched (OfflineError, NoConnectionError) or has another hash.
        ValueError: It cannot be converted, or the model has no remote weights.
        PermissionError, WriteError: The cache cannot be written to.
    """
    ready = _ready(model)
    if ready is not None:
        return ready
    folder = folder_of(model)
    with locked(lock_of(model), lambda: _say(f"{model.short_name}: another process fetches it, waiting")):
        ready = _ready(model)
        if ready is not None:
            return ready
        files = _obtain(model, folder)
        written = list(arrive(model, files, folder))
        write_record(folder, written, files, origin_of(model))
        return written[0]


def fetch_files(model: ZooModel) -> List[Path]:
    """Fetch and check a model's files without converting them. Errors as for ``fetch``."""
    with locked(lock_of(model), lambda: _say(f"{model.short_name}: another process fetches it, waiting")):
        return _obtain(model, folder_of(model))


def verify(model: ZooModel) -> List[str]:
    """Return what is wrong with the kept files of a model, in lines; empty if all have the right hashes."""
    remote, folder = _remote(model), folder_of(model)
    record = read_record(folder)
    found: Dict[str, Optional[str]] = {}
    if record is not None:  # what was converted may be removed
        names = [name for name in record.sha256 if name in record.used or (folder / name).is_file()]
        found = {name: damaged(folder, record, name) for name in names}
    for file in remote.files:  # the hash of the source says more than that of the record
        path = folder / file.name
        try:
            if path.is_file():
                check_file(path, file)
            elif record is None:
                found[file.name] = f"{path} is missing"
        except DownloadError as error:
            found[file.name] = str(error)
    return [line for line in found.values() if line is not None]


def remove(model: ZooModel) -> bool:
    """Remove all that is kept of a model; return whether there was anything."""
    folder = folder_of(model)
    if not folder.exists():
        return False
    with locked(lock_of(model), lambda: _say(f"{model.short_name}: another process uses it, waiting")):
        shutil.rmtree(folder)
    return True


def origin_of(model: ZooModel) -> Dict[str, Any]:
    """Return what decides whether kept files can be used: their hashes by the zoo, and the conversion's version."""
    return {**{file.name: dict(file.digests) for file in _remote(model).files}, "converter": CONVERTER}


def by_hand(model: ZooModel, missing: Sequence[WebFile]) -> str:
    """Say which files to get, from where, with which hash, and where to put them."""
    hub = _remote(model).hub
    place = "" if hub is None else f"{hub.repo}/{hub.file} on the Hugging Face hub"
    files = ", and ".join(f"{file.name} from {file.url or place} ({file.hash_text})" for file in missing)
    return f"by hand: get {files}, and put it into {folder_of(model)}; the next use checks and converts it"


def _remote(model: ZooModel) -> RemoteWeights:
    if model.remote is None:
        raise ValueError(f"model {model.name!r} has no remote weights")
    return model.remote


def _ready(model: ZooModel) -> Optional[Path]:
    """Return the file to open if it is kept as it was written, None otherwise."""
    folder = folder_of(model)
    record = read_record(folder)
    if record is None or record.origin != origin_of(model):
        return None
    return folder / record.used[0] if not any(damaged(folder, record, name) for name in record.used) else None


def _obtain(model: ZooModel, folder: Path) -> List[Path]:
    """Return the model's files, fetched and checked."""
    remote = _remote(model)
    missing = [file for file in remote.files if not (folder / file.name).is_file()]
    if missing and is_offline():
        raise OfflineError(
            f"{model.short_name} is not in the cache, and {OFFLINE_VARIABLE} forbids to fetch it; "
            + by_hand(model, missing)
        )
    if missing:
        size = "size unknown" if remote.size is None else f"{remote.size / 1e6:.1f} MB"
        terms = f", licence of the weights: {model.licence}" if model.licence else ""
        _say(f"{model.short_name}: fetching {size} into {folder}{terms}")
    try:
        return [_one(file, remote if file is remote.files[0] else None, folder) for file in remote.files]
    except NoConnectionError as error:
        missing = [file for file in remote.files if not (folder / file.name).is_file()]
        raise NoConnectionError(f"{error}; {by_hand(model, missing)}") from error


def _one(file: WebFile, remote: Optional[RemoteWeights], folder: Path) -> Path:
    """Return one file from its address, or from the hub if it has no address or fails there."""
    hub = None if remote is None else remote.hub
    if file.url or (folder / file.name).is_file():
        try:
            with Progress(file.size, file.name, "bytes") as progress:
                return download(file, folder, _RETRIES, progress.show, _WAIT)
        except DownloadError as error:
            if hub is None or not has_hub() or (folder / file.name).is_file():
                raise
            _say(f"{error}; trying the Hugging Face hub")
    assert hub is not None  # a file without an address has one
    scratch, part = folder / "hub", folder / f"{file.name}.hub"
    make_parent(scratch / "file")
    found = download_from_hub(hub, scratch)
    check_file(found, file, "from the hub")
    with explained(folder / file.name, part):
        # Some versions give a link to a cache of their own.
        with found.open("rb") as source, open_kept(part, append=False) as out:
            shutil.copyfileobj(source, out)
        put_in_place(part, folder / file.name)
    shutil.rmtree(scratch, ignore_errors=True)
    return folder / file.name


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
