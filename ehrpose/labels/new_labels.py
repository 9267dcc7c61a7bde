"""The folder that a label format is written to: photos are put in place, and what is left out is counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ehrpose.datasets.coco_fields import box_around
from ehrpose.datasets.converters.coco_folder import place_photo
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto
from ehrpose.files import write_text
from ehrpose.image_io import ImageReadError
from ehrpose.keypoint_meta import KeypointMeta


class NewLabels:
    """A folder being filled.

    Attributes:
        folder: The folder.
        out: Where it will be once it is whole.
        meta: The skeleton.
        skipped: Name of each skipped photo to the reason.

    Args:
        folder: Existing folder.
        out: Where it will be once it is whole.
        meta: The skeleton.
        symlink: Link to the photos instead of copying them.
        skip_bad: Skip photos that cannot be used; False: raise an error at the first one.
    """

    def __init__(
        self, folder: Path, out: Path, meta: KeypointMeta, symlink: bool = False, skip_bad: bool = False
    ):
        self.folder = folder
        self.out = out
        self.meta = meta
        self.symlink = symlink
        self.skip_bad = skip_bad
        self.skipped: Dict[str, str] = {}
        self._lost: Counter[str] = Counter()
        self._files: Dict[str, LabelledPhoto] = {}

    def place(self, photo: LabelledPhoto, folder: str = "") -> Optional[Tuple[int, int]]:
        """Copy or link a photo to a folder in the new one; return its (width, height), None if it was skipped.

        Raises:
            ImageReadError, ValueError: It cannot be used and ``skip_bad`` is False, or another photo has its name.
        """
        target = self.folder / folder / photo.name
        self.claim(target, photo)
        try:
            return place_photo(photo, target, self.symlink)
        except (ImageReadError, ValueError) as error:
            if not self.skip_bad:
                raise
            self.skipped[photo.name] = str(error)
            return None

    def claim(self, target: Path, photo: LabelledPhoto) -> Path:
        """Return a file's path after a check that no other photo has it, as ``a.txt`` for ``a.jpg`` and ``a.png``.

        Raises:
            ValueError: Two photos share it.
        """
        key = target.relative_to(self.folder).as_posix().casefold()
        other = self._files.setdefault(key, photo)
        if other is not photo:
            raise ValueError(
                f"the photos {other.name} and {photo.name} would share {target.name}: rename one of them"
            )
        return target

    def lose(self, what: str, count: int = 1) -> None:
        """Count what is left out or changed."""
        self._lost[what] += count

    def lose_of_crowd(self, person: LabelledPerson) -> None:
        """Count what a format loses of a crowd whose regions stand alone in it."""
        self.lose("keypoints of crowds", int((person.keypoints[:, 2] > 0).sum()))
        self.lose("boxes of crowds with an outline", int(person.box is not None and len(person.polygons) > 0))
        self.lose("crowds of several outlines, now one each", int(len(person.polygons) > 1))

    def losses(self) -> List[str]:
        """Return what was left out, one line each."""
        return [f"{what}: {count}" for what, count in self._lost.items() if count]

    def text(self, relative: str, content: str) -> None:
        """Write a file of the new folder."""
        write_text(self.folder / relative, content, durable=False)

    def json(self, relative: str, content: Any) -> None:
        """Write a JSON file of the new folder."""
        self.text(relative, json.dumps(content, indent=1, ensure_ascii=False))

    @staticmethod
    def box(person: LabelledPerson, size: Tuple[int, int]) -> Optional[List[float]]:
        """Return the person's box x, y, width, height, px, or the one around outline or keypoints; None without any."""
        if person.box is not None:
            return [float(value) for value in person.box]
        outline = person.mask or person.polygons
        return box_around(person.keypoints.ravel().tolist(), outline, size)
