"""Finding the photos that a json or xml of a labelling tool names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


class PhotoSearch:
    """Finds photos below some folders, whichever of the usual layouts the export has.

    A photo is taken from ``folder/name`` or ``folder/images/name`` if it is there, and else from anywhere below the
    folders where exactly one file has this name.

    Args:
        folders: Where to look, best first.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = list(folders)
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        """Return the photo's path.

        Raises:
            ValueError: The name leaves the folders, or several files have it.
            FileNotFoundError: There is no such photo.
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
            raise ValueError(f"several photos are called {name}: {', '.join(map(str, found[:3]))}")
        if not found:
            folders = " or ".join(map(str, self.folders))
            raise FileNotFoundError(
                f"photo {name!r} not found in or below {folders}; say where with `folders`"
            )
        return found[0]

    @staticmethod
    def name(name: str) -> str:
        """Return the photo's name with ``/`` between folders, checked to stay below where it is put.

        Raises:
            ValueError: It is empty, absolute or goes up.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        if not path.name or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"wanted a photo's name below the folder, got {name!r}")
        return path.as_posix()
