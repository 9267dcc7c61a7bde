"""The photos and videos that a batch's inputs name."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Sequence, Tuple

from ehrpose.counted import counted
from ehrpose.image_io import IMAGE_SUFFIXES
from ehrpose.media.inputs import is_moving, names_of_paths
from ehrpose.media.video import VIDEO_SUFFIXES

_LIST = "@"


class Found(NamedTuple):
    """Files in the order of the inputs, each once.

    Attributes:
        photos: Names as the user gave them; a file need not be there if a list has it.
        videos: Likewise.
    """

    photos: Tuple[str, ...]
    videos: Tuple[str, ...]


def find_inputs(words: Sequence[str], lists: Sequence[str] = ()) -> Found:
    """Return the files that inputs name.

    Args:
        words: Files, folders, globs, and ``@FILE`` for a list.
        lists: Text files with a file or folder in each line; empty lines and those that begin with ``#`` do not count.

    Raises:
        FileNotFoundError: An input, or a list, is not there.
        ValueError: An input is an address or a camera, or a list is no text.
    """
    photos: List[str] = []
    videos: List[str] = []
    seen = set()
    for name in _names(words, lists):
        place = os.path.realpath(name)
        if place in seen:
            continue
        seen.add(place)
        (videos if _is_video(name) else photos).append(name)
    return Found(tuple(photos), tuple(videos))


def _names(words: Sequence[str], lists: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word.startswith(_LIST) and not os.path.lexists(word):
            yield from _listed(word[1:])
        else:
            yield from _named(word)
    for path in lists:
        yield from _listed(path)


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


def _listed(path: str) -> Iterator[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a list of files as UTF-8 text, got other bytes") from error
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            yield from _in_folder(line) if os.path.isdir(line) else [line]


def _in_folder(folder: str) -> Iterator[str]:
    names = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    found = _media(names, folder)
    if not found:
        raise FileNotFoundError(f"no photos or videos in the folder {folder}")
    yield from found


def _media(names: Sequence[str], where: str) -> List[str]:
    """Return the photos and videos among names; one line on stderr counts and names the others."""
    found = [name for name in names if _is_media(name)]
    others = [Path(name) for name in names if not _is_media(name)]
    if found and others:
        print(
            f"{where}: passed over {counted(len(others), 'other')}: {names_of_paths(others)}", file=sys.stderr
        )
    return found


def _is_media(name: str) -> bool:
    return os.path.isfile(name) and Path(name).suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES
