"""A page of a folder's results: drawn photos with counts, the least certain first."""

from __future__ import annotations

import base64
import contextlib
import html
import tempfile
from pathlib import Path
from typing import IO, Any, List, NamedTuple, Optional, Union

import cv2
import numpy as np

from ehrpose.counted import counted
from ehrpose.files import PartialFile, make_parent
from ehrpose.results.results import Results

# Longer side of a thumbnail, px, and its JPEG quality.
_SIDE, _QUALITY = 320, 80
_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }}
main {{ display: flex; flex-wrap: wrap; gap: 1rem }}
figure {{ margin: 0; width: 20rem }}
img {{ max-width: 100%; border-radius: 4px }}
figcaption {{ overflow-wrap: anywhere }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<p><label>Order <select id="order"><option value="score">least certain first<option value="people">most people first
<option value="name">by name</select></label></p>
<main>
"""
_TAIL = """</main>
<script>
const main = document.querySelector("main"), order = document.querySelector("#order");
const by = {
  score: (a, b) => a.dataset.score - b.dataset.score,
  people: (a, b) => b.dataset.people - a.dataset.people,
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
};
order.onchange = () => main.append(...[...main.children].sort(by[order.value]));
</script>
</html>
"""


class _Entry(NamedTuple):
    name: str
    people: int
    worst: float
    start: int
    length: int


class Gallery:
    """One self-contained HTML page; thumbnails wait in a temporary file, so memory stays small.

    Args:
        path: The page.
        title: Its heading.

    Raises:
        NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk is full or fails.
    """

    def __init__(self, path: Union[str, Path], title: str = "ehrpose predict"):
        self.path, self.title = Path(path), title
        self._partial = PartialFile(path)
        self._entries: List[_Entry] = []
        self._spool: Optional[IO[bytes]] = None

    def add(self, results: Results, name: str, picture: np.ndarray) -> None:
        """Add a photo, drawn: (H, W, 3) uint8 BGR."""
        scale = min(1.0, _SIDE / max(picture.shape[:2]))
        size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        with self._partial.explained():
            if self._spool is None:
                self._spool = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close and abort)
            start = self._spool.tell()
            self._spool.write(content)
        worst = float(results.scores.min()) if len(results) else 0.0
        self._entries.append(_Entry(name, len(results), worst, start, len(content)))

    def close(self) -> List[Path]:
        """Write the page; return it, or nothing without photos."""
        if self._spool is None:
            return []
        people = sum(entry.people for entry in self._entries)
        empty = sum(not entry.people for entry in self._entries)
        summary = (
            f"{counted(len(self._entries), 'photo')}, {counted(people, 'person', 'people')}, "
            f"{counted(empty, 'photo')} without people"
        )
        with self._partial.explained():
            make_parent(self.path)
            with self._partial.create().open("w", encoding="utf-8", errors="backslashreplace") as page:
                page.write(_HEAD.format(title=html.escape(self.title), summary=summary))
                for entry in sorted(self._entries, key=lambda entry: (entry.worst, entry.name)):
                    page.write(_figure(entry, self._read(entry)))
                page.write(_TAIL)
        self._close_spool()
        self._partial.commit()
        return [self.path]

    def abort(self) -> None:
        """Forget the photos; remove a page that is not whole."""
        self._close_spool()
        self._partial.abort()

    def _close_spool(self) -> None:
        if self._spool is not None:
            with contextlib.suppress(OSError):  # on a full disk, the final flush fails too
                self._spool.close()
            self._spool = None

    def _read(self, entry: _Entry) -> bytes:
        spool: Any = self._spool
        spool.seek(entry.start)
        return bytes(spool.read(entry.length))


def _figure(entry: _Entry, content: bytes) -> str:
    name = html.escape(entry.name, quote=True)
    count = counted(entry.people, "person", "people")
    worst = f", lowest score {entry.worst:.2f}" if entry.people else ""
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<figure data-score="{entry.worst:.4f}" data-people="{entry.people}" data-name="{name}">'
        f'<img alt="{name}" src="data:image/jpeg;base64,{data}"><figcaption>{name}: {count}{worst}</figcaption>'
        "</figure>\n"
    )
