"""The photos and videos that a batch's inputs name."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ehrpose.batch.storage import find_objects, is_address, place_of, read_object, states_of
from ehrpose.counted import counted
from ehrpose.image_io import IMAGE_SUFFIXES
from ehrpose.media.inputs import is_moving, names_of_paths
from ehrpose.media.video import VIDEO_SUFFIXES

_LIST = "@"
_States = Dict[str, str]


class Found(NamedTuple):
    """Files in the order of the inputs, each once.

    Attributes:
        photos: Names as the user gave them; a file need not be there if a list has it.
        videos: Likewise.
        states: Sizes and tags of those that are objects in stores, by address.
    """

    photos: Tuple[str, ...]
    videos: Tuple[str, ...]
    states: Optional[Mapping[str, str]] = None


def find_inputs(words: Sequence[str], lists: Sequence[str] = ()) -> Found:
    """Return the files that inputs name.

    Args:
        words: Files, folders, globs, and ``@FILE`` for a list; each may be an address of fsspec (``s3://...``).
        lists: Text files with a file or folder in each line; empty lines and those that begin with ``#`` do not count.

    Raises:
        FileNotFoundError: An input, or a list, is not there.
        ValueError: An input is a link or a camera, a list is no text, or a package for a store is not installed.
        PermissionError, StorageError: A store refuses, or does not answer.
    """
    photos: List[str] = []
    videos: List[str] = []
    seen = set()
    states: _States = {}
    for name in _names(words, lists, states):
        place = place_of(name)
        if place in seen:
            continue
        seen.add(place)
        (videos if _is_video(name) else photos).append(name)
    return Found(tuple(photos), tuple(videos), states)


def _names(words: Sequence[str], lists: Sequence[str], states: _States) -> Iterator[str]:
    for word in words:
        if word.startswith(_LIST) and not os.path.lexists(word):
            yield from _listed(word[1:], states)
        elif is_address(word):
            yield from _in_store(word, states)
        else:
            yield from _named(word)
    for path in lists:
        yield from _listed(path, states)


def _in_store(address: str, states: _States) -> Iterator[str]:
    objects = find_objects(address)
    states.update((name, state) for name, state in objects.items() if state is not None)
    if list(objects) == [address]:
        yield address
        return
    found = _media(list(objects), address, lambda name: objects[name] is not None)
    if not found:
        raise FileNotFoundError(f"no photos or videos in {address}")
    yield from found


def _named(word: str) -> Iterator[str]:
    if "://" in word:
        raise ValueError(f"{word} is a URL: download it first and give the file name")
    if os.path.isfile(word):
        yield word
    elif os.path.isdir(word):
        yield from _in_folder(word)
    elif is_moving(word) and not _is_video(word):
        raise ValueError(f"{word} is a camera: expected photos and videos")
    else:
        matches = [name for name in sorted(glob.glob(word, recursive=True)) if os.path.isfile(name)]
        if not matches:
            raise FileNotFoundError(f"no such file, folder or glob: {word}")
        yield from _media(matches, word)


def _listed(path: str, states: _States) -> Iterator[str]:
    try:
        content = read_object(path) if is_address(path) else Path(path).read_bytes()
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a list of files as UTF-8 text, got other bytes") from error
    names = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
    found = states_of([name for name in names if is_address(name)])
    states.update((name, state) for name, state in found.items() if state is not None)
    for name in names:
        if name in found:
            yield from [name] if found[name] is not None else _in_store(name, states)
        else:
            yield from _in_folder(name) if os.path.isdir(name) else [name]


def _in_folder(folder: str) -> Iterator[str]:
    names = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    found = _media(names, folder)
    if not found:
        raise FileNotFoundError(f"no photos or videos in the folder {folder}")
    yield from found


def _media(names: Sequence[str], where: str, is_file: Callable[[str], bool] = os.path.isfile) -> List[str]:
    """Return the photos and videos among names; one line on stderr counts and names the others."""
    kinds = [_has_suffix(name) and is_file(name) for name in names]
    found = [name for name, is_media in zip(names, kinds) if is_media]
    others = [Path(name) for name, is_media in zip(names, kinds) if not is_media]
    if found and others:
        print(
            f"{where}: passed over {counted(len(others), 'other')}: {names_of_paths(others)}", file=sys.stderr
        )
    return found


def _has_suffix(name: str) -> bool:
    return Path(name).suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES
