"""What ``make crash`` disturbs: a command, what was there before, and what must be there afterwards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import ehrpose
from ehrpose.analysis.reliability.warm import Run, Warm
from ehrpose.files import PARTIAL

ROOT = Path(ehrpose.__file__).parents[1]
# Temporary files that others leave after a kill: Python's, which shows whether a folder may be used, and the copies
# that MMEngine makes of a config.
_OTHERS = re.compile(r"tmp/(tmp)?[a-z0-9_]{8}(/.*)?")


class Job:
    """A command whose output is one folder, ``case``. It may have had output before; it has it again afterwards.

    Attributes:
        before: See ``Run``.
        once: Whether the command refuses to run where its output is complete.

    Args:
        inputs: New folder for what the command reads.
        case: Folder for its output.
    """

    before: tuple[str, Any] | None = None
    once = False

    def __init__(self, inputs: Path, case: Path):
        self.inputs, self.case = inputs, case

    def make_inputs(self, warm: Warm) -> None:
        """Write what the command reads."""

    def old(self) -> list[str] | None:
        """Return the command that makes the earlier output; None: there is none."""
        return None

    def words(self) -> list[str]:
        """Return the command."""
        raise NotImplementedError

    def again(self) -> list[str]:
        """Return the command of the next run."""
        return self.words()

    def run(self, words: list[str], **faults: Any) -> Run:
        """Return a run of one of the commands, whose temporary files are in ``case`` too."""
        temporary = self.case / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        env = {"TMPDIR": str(temporary)}
        return Run(words, str(self.case), before=self.before, env=env, **faults)

    def arrange(self) -> None:
        """Change the earlier output further."""

    def state(self) -> dict[str, str]:
        """Return the files that are there, below ``case``, and what tells their content."""
        files = sorted(path for path in self.case.rglob("*") if path.is_file())
        names = {path.relative_to(self.case).as_posix(): path for path in files}
        return {name: self.content(path) for name, path in names.items() if not _OTHERS.fullmatch(name)}

    def content(self, path: Path) -> str:
        """Return what tells the content of a file."""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def kept(self, old: Mapping[str, str], new: Mapping[str, str]) -> str:
        """Say what is wrong after a run that failed; nothing if the old files, or whole new ones, are there."""
        found = visible(self.state())
        for name, content in found.items():
            if content not in (old.get(name), new.get(name)):
                return f"{name} is neither the old file nor the new one"
        gone = old.keys() - found.keys()
        return f"{min(gone)} is gone" if gone else ""

    def complete(self, new: Mapping[str, str]) -> str:
        """Say what differs from the output of an undisturbed run."""
        found = self.state()
        for name in sorted({*found, *new}):
            if found.get(name) != new.get(name):
                state = "is left" if name not in new else "differs" if name in found else "is missing"
                return f"{name} {state}"
        return ""


def visible(state: Mapping[str, str]) -> dict[str, str]:
    """Return a state without partial files."""
    return {name: content for name, content in state.items() if not is_hidden(name)}


def is_hidden(name: str) -> bool:
    """Whether a file is a partial one, or in a partial folder: the next run removes it."""
    return any(part.startswith(".") and PARTIAL in part for part in Path(name).parts)


def tool(name: str) -> str:
    """Return the path of a script in ``tools``.

    Raises:
        ValueError: This is an installed package, which has no scripts.
    """
    path = ROOT / "tools" / name
    if not path.is_file():
        raise ValueError(f"{path} not found: crashes are tried from a checkout of the repository")
    return str(path)


def write_scenes(folder: Path, number: int, seed: int) -> None:
    """Write drawn scenes of 128 px as PNG files."""
    from ehrpose.datasets.synthetic.dataset import SyntheticPeople
    from ehrpose.keypoint_files import load_keypoints

    folder.mkdir(parents=True)
    scenes = SyntheticPeople(
        load_keypoints(ROOT / "configs/_base_/keypoints/coco.py"), number, seed, 128, (1, 2)
    )
    for index in range(number):
        cv2.imwrite(str(folder / f"{index}.png"), np.asarray(scenes.get_data_info(index)["img"]))
