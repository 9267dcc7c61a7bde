"""Where a batch writes: a folder of this machine, or one of a store. Both have the same methods.

Names are relative to the folder. A file appears whole or not at all: by a rename, or as stores do it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any, ContextManager, Dict, Iterator, Optional, Sequence, Tuple, Union

from ehrpose.batch.storage import (
    BucketError,
    ahead,
    explained,
    is_address,
    open_store,
    read_object,
    state_of_object,
)
from ehrpose.files import make_parent, remove_stale, temporary_folder, write_bytes
from ehrpose.locks import claimed, lives, locked, own_name

# Seconds after which a claim counts as left behind, and between its renewals.
CLAIM_ENDS, CLAIM_RENEWED = 600.0, 60.0
Folder = Union["LocalFolder", "StoreFolder"]


def open_folder(out: Union[str, Path]) -> Folder:
    """Return a folder by its name or address. Nothing is made or asked yet.

    Raises:
        ValueError: A package for the store is not installed.
    """
    return StoreFolder(str(out)) if is_address(out) else LocalFolder(out)


class LocalFolder:
    """A folder of this machine, or one that it has mounted."""

    def __init__(self, root: Union[str, Path]):
        self.root = Path(root)

    def where(self, name: str) -> Path:
        """Return what to call a file in messages."""
        return self.root / name

    def make(self, name: str) -> None:
        """Create a folder in it. Errors as for ``make_parent``."""
        make_parent(self.root / name / "part")

    def seen(self, folder: str) -> LocalFolder:
        """Return what reads many of the files of a folder, as they are now."""
        return self

    def read(self, name: str) -> Optional[bytes]:
        """Return a file's content; None if it is not there."""
        try:
            return self.where(name).read_bytes()
        except FileNotFoundError:
            return None

    def read_each(self, names: Sequence[str]) -> Iterator[Optional[bytes]]:
        """Yield the content of each file, as ``read`` returns it."""
        return map(self.read, names)

    def size(self, name: str) -> Optional[int]:
        """Return a file's size in bytes; None if it is not there."""
        try:
            return self.where(name).stat().st_size
        except OSError:
            return None

    def write(self, name: str, content: bytes, durable: bool = True) -> None:
        """Write a file. Errors as for ``write_bytes``."""
        write_bytes(self.where(name), content, durable)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one; return whether it was written. Errors as for ``write_bytes``."""
        with locked(self.root / f".{Path(name).stem}.lock"):
            if self.where(name).exists():
                return False
            self.write(name, content)
            return True

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.where(name).unlink()

    def claim(self, name: str) -> ContextManager[bool]:
        """Try to claim a name, within a block; yields whether it was free."""
        return claimed(self.where(name))

    def tidy(self, folder: str) -> None:
        """Remove what killed processes left: partial files, and claims."""
        remove_stale(self.where(folder))
        for path in self.where(folder).glob("*.lock"):
            with claimed(path):
                pass

    @contextlib.contextmanager
    def merging(self) -> Iterator[None]:
        """Within this block tables are written, by one process at a time, with the three methods below."""
        with locked(self.root / ".merge.lock"), self.drafting():
            yield

    @contextlib.contextmanager
    def drafting(self) -> Iterator[None]:
        """The same for a process that helps the one that merges."""
        yield

    def draft(self, name: str) -> Path:
        """Return the path to write a table to."""
        return self.where(name)

    def publish(self, name: str) -> None:
        """Put a draft in its place."""

    def fetch(self, name: str) -> Path:
        """Return the path to read a table from."""
        return self.where(name)


class StoreFolder:
    """A folder of a store, such as ``s3://bucket/run1``.

    Claims are objects that are made only if there is none, where the store knows that; they are renewed, and count no
    more once their process has ended or they are old. A rare second claim does an item twice, with the same result.
    """

    def __init__(self, root: str):
        self.root = root.rstrip("/")
        self._system, self._path = open_store(self.root)
        self._drafts = Path()
        # Content by name and state: records do not change often.
        self._known: Dict[str, Tuple[Any, bytes]] = {}

    def __reduce__(self) -> Any:
        return StoreFolder, (self.root,)

    def where(self, name: str) -> str:
        return f"{self.root}/{name}"

    def make(self, name: str) -> None:
        """See whether the store answers; there is nothing to make."""
        self._listed(name)

    def seen(self, folder: str) -> _Seen:
        sizes = self._listed(folder)
        wanted = [
            name
            for name, (_, state) in sizes.items()
            if name.endswith(".json") and self._known.get(name, (None,))[0] != state
        ]
        for name, content in zip(wanted, self.read_each(wanted)):
            if content is not None:
                self._known[name] = sizes[name][1], content
        return _Seen(self, sizes, {name: self._known[name][1] for name in sizes if name in self._known})

    def read(self, name: str) -> Optional[bytes]:
        try:
            return read_object(self.where(name))
        except BucketError:
            raise
        except FileNotFoundError:
            return None

    def read_each(self, names: Sequence[str]) -> Iterator[Optional[bytes]]:
        return ahead(self.read, names)

    def size(self, name: str) -> Optional[int]:
        try:
            with explained(self.where(name)):
                return int(self._system.size(self._at(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, durable: bool = True) -> None:
        with explained(self.where(name)):
            self._system.pipe_file(self._at(name), content)

    def create(self, name: str, content: bytes) -> bool:
        try:
            with explained(self.where(name)):
                self._system.pipe_file(self._at(name), content, mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), explained(self.where(name)):
            self._system.rm_file(self._at(name))

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        if not self._take(name):
            yield False
            return
        has_ended = threading.Event()

        def renew() -> None:
            while not has_ended.wait(CLAIM_RENEWED):
                with contextlib.suppress(OSError):
                    self.write(name, _claim())

        thread = threading.Thread(target=renew, name="claim", daemon=True)
        thread.start()
        try:
            yield True
        finally:
            has_ended.set()
            thread.join()
            self.remove(name)

    def tidy(self, folder: str) -> None:
        with contextlib.suppress(OSError):
            for name in self._listed(folder):
                if name.endswith(".lock") and _is_over(self.read(name)):
                    self.remove(name)

    def merging(self) -> ContextManager[None]:
        return self.drafting()

    @contextlib.contextmanager
    def drafting(self) -> Iterator[None]:
        with temporary_folder() as self._drafts:
            yield

    def draft(self, name: str) -> Path:
        path = self._drafts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, name: str) -> None:
        with explained(self.where(name)):
            self._system.put_file(str(self._drafts / name), self._at(name))

    def fetch(self, name: str) -> Path:
        path = self.draft(name)
        if not path.exists():
            with explained(self.where(name)):
                self._system.get_file(self._at(name), str(path))
        return path

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    def _listed(self, folder: str) -> Dict[str, Tuple[int, str]]:
        """Return size and state of each object in a folder; none is no error, as a folder is only its objects."""
        try:
            with explained(self.where(folder)):
                found = self._system.ls(self._at(folder), detail=True)
        except BucketError:
            raise
        except FileNotFoundError:
            return {}
        return {
            f"{folder}/{info['name'].rsplit('/', 1)[-1]}": (int(info["size"]), state_of_object(info))
            for info in found
            if info["type"] == "file"
        }

    def _take(self, name: str) -> bool:
        if self.create(name, _claim()):
            return True
        if not _is_over(self.read(name)):
            return False
        self.remove(name)
        return self.create(name, _claim())


class _Seen:
    """Sizes and small contents of a folder's objects at one time."""

    def __init__(self, folder: StoreFolder, sizes: Dict[str, Tuple[int, str]], contents: Dict[str, bytes]):
        self._folder, self._sizes, self._contents = folder, sizes, contents

    def read(self, name: str) -> Optional[bytes]:
        return self._contents.get(name)

    def size(self, name: str) -> Optional[int]:
        return self._sizes[name][0] if name in self._sizes else None


def _claim() -> bytes:
    # Whole seconds: of one length, as a store may be asked for the size before the content.
    return json.dumps({"owner": own_name(), "time": int(time.time())}).encode("utf-8")


def _is_over(content: Optional[bytes]) -> bool:
    """Whether a claim counts no more: its process has ended, or has not renewed it for long."""
    try:
        claim = json.loads(content or b"")
        is_alive = lives(claim["owner"])
        return time.time() - claim["time"] > CLAIM_ENDS if is_alive is None else not is_alive
    except (ValueError, LookupError, TypeError):
        return True
