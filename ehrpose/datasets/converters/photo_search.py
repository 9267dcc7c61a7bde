"""Finding the photos that a labelling tool's JSON or XML file names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


class PhotoSearch:
    """Finds photos in some folders, in any of the usual layouts of an export.

    A photo is taken from ``folder/name`` or ``folder/images/name`` if it exists, and otherwise from anywhere below the
    folders if exactly one file there has this name.

    Args:
        folders: Folders to search, in order of preference.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = list(folders)
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        """Return the photo's path.

        Raises:
            ValueError: The name leads out of the folders, or several files have it.
            FileNotFoundError: The photo does not exist.
        """
        relative = self.name(name)
        for folder in self.folders:
            for place in (folder / relative, folder / "images" / relative):
                if place.is_file():
                    return place
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for folder in self.folders:
                for path in sorted(folder.rglob("*")):
                    if path.is_file():
                        self._by_name[path.name].append(path)
        found = [
            p for p in self._by_name[PurePosixPath(relative).name] if p.as_posix().endswith(f"/{relative}")
        ]
        if len(found) > 1:
            raise ValueError(f"several photos are named {name}: {', '.join(map(str, found[:3]))}")
        if not found:
            folders = " or ".join(map(str, self.folders))
            raise FileNotFoundError(
                f"photo {name!r} not found in or below {folders}; give its folder with `folders`"
            )
        return found[0]

    @staticmethod
    def name(name: str) -> str:
        """Return the photo's name with ``/`` between folders, after a check that it stays below its folder.

        Raises:
            ValueError: It is empty, absolute or contains ``..``.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        if not path.name or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"expected a photo's name below the folder, got {name!r}")
        return path.as_posix()
