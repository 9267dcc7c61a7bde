"""DeepLabCut's CollectedData csv: a row for each photo, columns for each individual and body part.

Read by itself: sleap-io 0.9.5 sorts the body parts by letters and reads no h5.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, check_unique, empty_keypoints
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.datasets.json_values import shown
from ehrpose.labels.label_format import LabelFormat, labelled_keypoints
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.new_labels import NewLabels
from ehrpose.registry import LABEL_FORMATS

_SCORER, _FOLDER = "ehrpose", "photos"
_NAME = f"labeled-data/{_FOLDER}/CollectedData_{_SCORER}.csv"


class _Table(NamedTuple):
    """Names of individuals and body parts of the columns, each (x, y), and the rows: photo and values."""

    columns: List[Tuple[str, str]]
    rows: List[Tuple[str, List[str]]]


@LABEL_FORMATS.register_module(name="deeplabcut")
class DeepLabCutLabels(LabelFormat):
    """The labels of a DeepLabCut project, of one or several individuals."""

    title = "DeepLabCut"
    docs = (
        "`labeled-data/*/CollectedData_*.csv` beside the photos, of one or several individuals (the csv, not the h5; "
        "`deeplabcut.convertcsv2h5` makes that)."
    )
    holds = frozenset(("order of keypoints",))

    def check(self, path: Union[str, Path]) -> Optional[str]:
        path = Path(path)
        if path.suffix.lower() == ".h5":
            return "expected DeepLabCut's csv, got an h5 file: give the csv next to it"
        files = _files(path)
        if not files:
            return "expected CollectedData_*.csv, or a folder with it"
        try:
            _read(files[0])
        except ValueError as error:
            return str(error)
        return None

    def _read(self, path: Path, how: Reading) -> LabelSet:
        tables = {file: _read(file) for file in _files(path)}
        first = next(iter(tables.values()))
        names = list(dict.fromkeys(how.name_of(n) for _, n in first.columns if n not in how.ignore))
        meta = how.meta_or(lambda: guess_keypoints("person", names))
        photos = []
        for file, table in tables.items():
            try:
                photos += [self._photo(file, table, row, meta, how) for row in table.rows]
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
        check_unique(photos)
        return LabelSet(meta, {"train": photos})

    @staticmethod
    def _photo(file: Path, table: _Table, row: Tuple[str, List[str]], meta, how: Reading) -> LabelledPhoto:
        name, values = row
        people: Dict[str, np.ndarray] = {}
        for (individual, part), x, y in zip(table.columns, values[0::2], values[1::2]):
            k = how.index_of(part, meta)
            point = _point(x, y, f"{name}, {part}")
            if k is not None and point is not None:
                people.setdefault(individual, empty_keypoints(meta.num_keypoints))[k] = (*point, 2)
        short = "/".join(Path(name.replace("\\", "/")).parts[-2:])
        search = how.search(file.parent, file.parent.parent)
        # The csv names labeled-data/VIDEO/PHOTO, and lies in VIDEO.
        tail = short.split("/")[-1]
        path = file.parent / tail
        path = path if path.is_file() and how.photos is None else search.find(tail)
        return LabelledPhoto(
            path, short, None, [LabelledPerson(p) for p in people.values()], f"{file}: {name}"
        )

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        photos = [photo for photos in labels.splits.values() for photo in photos]
        people = [[p for p in photo.people if not p.crowd] for photo in photos]
        most = max(1, *(len(own) for own in people)) if people else 1
        columns = [(f"individual{i + 1}", name) for i in range(most) for name in new.meta.names]
        head = {"scorer": [_SCORER] * 2 * len(columns), "individuals": [i for i, _ in columns for _ in "xy"]}
        head["bodyparts"] = [name for _, name in columns for _ in "xy"]
        head["coords"] = ["x", "y"] * len(columns)
        if most == 1:
            del head["individuals"]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for word, cells in head.items():
            writer.writerow([word, "", "", *cells])
        for photo, own in zip(photos, people):
            flat = photo._replace(name=photo.name.replace("/", "_"))
            if new.place(flat, f"labeled-data/{_FOLDER}") is None:
                continue
            cells = [""] * (2 * len(columns))
            for i, person in enumerate(own):
                for k, x, y, _ in labelled_keypoints(person):
                    at = 2 * (i * new.meta.num_keypoints + k)
                    cells[at : at + 2] = [repr(round(x, 4)), repr(round(y, 4))]
            writer.writerow(["labeled-data", _FOLDER, flat.name, *cells])
        new.text(_NAME, out.getvalue())


def _files(path: Path) -> List[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".csv" else []
    return sorted(path.rglob("CollectedData_*.csv"))


def _point(x: str, y: str, place: str) -> Optional[Tuple[float, float]]:
    try:
        values = [float(text) if text.strip() else float("nan") for text in (x, y)]
    except ValueError:
        raise ValueError(f"{place}: expected two numbers or nothing, got {shown([x, y])}") from None
    return (values[0], values[1]) if np.isfinite(values).all() else None


def _read(file: Path) -> _Table:
    """Return the table of a csv.

    Raises:
        ValueError: It is not DeepLabCut's.
    """
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        try:
            rows = list(csv.reader(stream))
        except csv.Error as error:
            raise ValueError(f"{file} is not a valid csv: {error}") from error
    heads = {
        row[0]: row for row in rows[:4] if row and row[0] in ("scorer", "individuals", "bodyparts", "coords")
    }
    if not {"scorer", "bodyparts", "coords"} <= set(heads):
        raise ValueError(f"{file}: expected DeepLabCut's first lines scorer, bodyparts and coords")
    coords = heads["coords"]
    # Newer projects give the photo's path as three cells, older ones as one.
    start = next((i for i, cell in enumerate(coords) if cell == "x"), len(coords))
    pairs = coords[start:]
    if not pairs or pairs != ["x", "y"] * (len(pairs) // 2):
        raise ValueError(
            f"{file}: expected pairs of x and y as coords, got {shown(pairs)}; is it a file of predictions?"
        )
    individuals = heads.get("individuals", [""] * len(coords))
    columns = list(zip(individuals[start::2], heads["bodyparts"][start::2]))
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise ValueError(f"{file}: the columns of {repeated[0]} are there twice")
    body = [row for row in rows[len(heads) :] if row]
    for row in body:
        if len(row) != len(coords):
            raise ValueError(f"{file}: {shown(row[:start])}: expected {len(coords)} cells, got {len(row)}")
    return _Table(columns, [("/".join(cell for cell in row[:start] if cell), row[start:]) for row in body])
