"""Objects in a store, by their addresses (``s3://bucket/folder/a.mp4``), through fsspec.

Nothing of an object is kept: a photo is read into memory, a video is copied to a temporary file while it is worked on.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Deque, Dict, Iterator, Optional, Sequence, Set, Tuple, TypeVar, Union

from ehrpose.files import remove_stale, temporary_folder
from ehrpose.image_io import MAX_BYTES

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
# Addresses that are no stores: their links may be signed, and streams have no end.
_NO_STORES = ("data", "http", "https", "mms", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp")
# What the names of fsspec's extras are, where it is not the scheme.
_EXTRAS = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}
_CREDENTIALS = re.compile(r"://[^/]*:[^/]*@|[?&](sig|signature|token|x-amz-signature)=", re.IGNORECASE)
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
                   "TokenRetrievalError", "DefaultCredentialsError")  # fmt: skip
# What S3 and its like answer if an object was to be made only if there is none. fsspec knows some forms of it.
_EXISTS = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
# Objects that are fetched at a time: most of the time of a small one is waiting.
_AT_ONCE = 8
# Bytes that are fetched at a time of a file of which only the header is read.
_BLOCK = 2**20
MISSING = "missing"
_T = TypeVar("_T")


class StorageError(OSError):
    """A store does not answer, or fails; the message says at which address."""


class BucketError(FileNotFoundError):
    """There is no such bucket or container."""


def is_address(name: object) -> bool:
    """Whether a name is that of an object, or of a folder of objects, in a store."""
    found = _SCHEME.match(name) if isinstance(name, str) else None
    return found is not None and found[1].lower() not in _NO_STORES


def place_of(name: str) -> str:
    """Return what two names of the same file have in common."""
    return name if is_address(name) else os.path.realpath(name)


def open_store(address: str) -> Tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        ValueError: A package is not installed, the store is unknown, or the address has credentials in it.
    """
    scheme = address.split("://", 1)[0].lower()
    if _CREDENTIALS.search(address):
        raise ValueError(
            f"an address of {scheme}:// has credentials in it, which would be written to the tables: expected them in "
            "the environment, or in the store's own settings"
        )
    try:
        import fsspec
    except ImportError as error:
        raise ValueError(f'{scheme}:// needs the package fsspec: pip install "ehrpose[cloud]"') from error
    try:
        # What was listed before may have changed.
        file_system, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
        return file_system, path
    except ImportError as error:
        extra = _EXTRAS.get(scheme, scheme)
        raise ValueError(f'{scheme}:// needs a package: pip install "fsspec[{extra}]" ({error})') from error
    except ValueError as error:
        raise ValueError(f"{scheme}:// is no store that fsspec knows: {error}") from error


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Convert what a store raises within the block.

    Raises:
        FileNotFoundError: There is no such object; BucketError: no such bucket.
        FileExistsError: It is there already, or just being written, and was to be written only if not.
        PermissionError: There are no credentials, or they do not suffice.
        StorageError: Anything else.
    """
    try:
        yield
    except (FileExistsError, StorageError, BucketError):
        raise
    except FileNotFoundError as error:
        if "NoSuchBucket" in _codes(error):
            raise BucketError(f"{address}: there is no such bucket") from error
        raise FileNotFoundError(f"{address}: no such object or folder") from error
    except PermissionError as error:
        raise PermissionError(f"{address}: access denied: {_text(error)}") from error
    except Exception as error:
        if _codes(error) & _EXISTS:
            raise FileExistsError(f"{address}: it exists") from error
        if type(error).__name__ in _NO_CREDENTIALS:
            raise PermissionError(f"{address}: no credentials: {_text(error)}") from error
        raise StorageError(f"{address}: {_text(error)}") from error


def find_objects(address: str) -> Dict[str, Optional[str]]:
    """Return the objects that an address names, as itself, as a folder, or as a glob.

    Returns:
        The state of each by its address, in the order of names; None for a folder in the folder.

    Raises: As for ``open_store`` and ``explained``.
    """
    file_system, path = open_store(address)
    with explained(address):
        try:
            info = file_system.info(path.rstrip("/"))
            if info["type"] == "file" and not address.endswith("/"):
                return {address: state_of_object(info)}
            found = {each["name"]: each for each in file_system.ls(path, detail=True)}
        except FileNotFoundError:
            found = file_system.glob(path, detail=True) if re.search(r"[*?\[]", path) else {}
            if not found:
                raise
    start = _start_of(address, path)
    objects = {}
    for name, info in sorted(found.items()):
        full = file_system.unstrip_protocol(name) if start is None else start + name.lstrip("/")
        objects[full] = state_of_object(info) if info["type"] == "file" else None
    return objects


def _start_of(address: str, path: str) -> Optional[str]:
    """Return what is before a store's path in its address, so that names are as the user writes them."""
    tail = path.strip("/")
    return address.rstrip("/")[: -len(tail)] if tail and address.rstrip("/").endswith(tail) else None


def states_of(addresses: Sequence[str]) -> Dict[str, Optional[str]]:
    """Return the state of each object; ``MISSING`` if it is not there, None for a folder. Errors as for the others."""

    def look(address: str) -> Optional[str]:
        if address.endswith("/"):
            return None
        file_system, path = open_store(address)
        try:
            with explained(address):
                info = file_system.info(path)
        except FileNotFoundError:
            return MISSING
        return state_of_object(info) if info["type"] == "file" else None

    return dict(zip(addresses, ahead(look, addresses, 2 * _AT_ONCE)))


def read_object(address: str, max_bytes: Optional[int] = None) -> bytes:
    """Return the content of an object. Errors as for the others; ValueError if it has more than ``max_bytes``."""
    file_system, path = open_store(address)
    with explained(address):
        size = None if max_bytes is None else file_system.size(path)
        if size is None or size <= max_bytes:
            content: bytes = file_system.cat_file(path)
            return content
    raise ValueError(f"{size / 1e6:.1f} MB are too many: the limit is {max_bytes} bytes")


def photo_sources(names: Sequence[str]) -> Iterator[Union[str, bytes, Exception]]:
    """Yield each photo as what ``read_image`` takes; some objects are fetched ahead.

    An object that cannot be had is an error in its place.

    Raises:
        StorageError: The store fails.
    """

    def source(name: str) -> Union[str, bytes, Exception]:
        try:
            return read_object(name, MAX_BYTES) if is_address(name) else name
        except (FileNotFoundError, PermissionError, ValueError) as error:
            return error

    yield from ahead(source, names) if any(map(is_address, names)) else names


@contextlib.contextmanager
def opened(name: str) -> Iterator[Tuple[Any, int]]:
    """Yield a video's path and its size in bytes; of an object, an open file that fetches what is read.

    Raises: As for ``explained``, if it is an object.
    """
    if not is_address(name):
        yield Path(name), os.stat(name).st_size
        return
    file_system, path = open_store(name)
    with explained(name):
        file = file_system.open(path, "rb", block_size=_BLOCK)
    with file:
        try:
            yield file, int(file.size)
        except (OSError, ValueError):
            raise
        except Exception as error:  # of the store's own, when more is read
            raise StorageError(f"{name}: {_text(error)}") from error


def ahead(function: Callable[[Any], _T], values: Sequence[Any], count: int = _AT_ONCE) -> Iterator[_T]:
    """Yield a function's result of each value in order, with ``count`` calls at a time."""
    waiting: Deque[Future[_T]] = deque()
    pool = ThreadPoolExecutor(count)
    try:
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()
        pool.shutdown()


class VideoCopies:
    """The copy of the video that a process works on: one at a time, as pieces of a video follow each other."""

    def __init__(self) -> None:
        self._folder: Optional[contextlib.ExitStack] = None
        self._kept: Optional[Tuple[str, str]] = None
        self._path = Path()

    @contextlib.contextmanager
    def local(self, name: str, state: str = "") -> Iterator[str]:
        """Yield a file with the content of a video; errors within the block name the video, not the file.

        Raises: As for ``explained``.
        """
        if not is_address(name):
            yield name
            return
        if self._kept != (name, state):
            self._fetch(name)
            self._kept = name, state
        try:
            yield str(self._path)
        except Exception as error:
            error.args = tuple(
                each.replace(str(self._path), name) if isinstance(each, str) else each for each in error.args
            )
            raise

    def close(self) -> None:
        """Remove the copy."""
        if self._folder is not None:
            self._folder.close()
        self._folder, self._kept = None, None

    def _fetch(self, name: str) -> None:
        self.close()
        file_system, path = open_store(name)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(temporary_folder())
            self._path = folder / f"video{Path(name).suffix}"
            with explained(name):
                file_system.get_file(path, str(self._path))
            self._folder = stack.pop_all()


def remove_copies() -> None:
    """Remove what processes that were ended have left in the temporary folder."""
    remove_stale(tempfile.gettempdir())


def state_of_object(info: Dict[str, Any]) -> str:
    """Return size and tag of an object, or its time of change where a store has no tags."""
    names = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
    mark = next((info[name] for name in names if info.get(name)), "")
    return f"{info['size']}:{str(mark).strip(chr(34))}"


def _codes(error: Optional[BaseException]) -> Set[str]:
    """Return the codes with which a store has answered."""
    codes = set()
    while error is not None:
        codes.add(str((getattr(error, "response", None) or {}).get("Error", {}).get("Code")))
        error = error.__cause__
    return codes


def _text(error: Exception) -> str:
    """Return an error's text without any credentials."""
    text = " ".join(str(error).split()) or type(error).__name__
    for name, value in os.environ.items():
        if len(value) >= 8 and re.search("SECRET|TOKEN|PASSWORD|KEY", name.upper()):
            text = text.replace(value, "***")
    return re.sub(r"://[^/\s@]*:[^/\s@]*@", "://***@", text)
