"""Formats in which results are written. A file appears when it is whole, or not at all."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, TextIO, Union

import numpy as np

from ehrpose.file_sets import FileGroup
from ehrpose.files import write_text
from ehrpose.growing_file import GrowingFile, open_text
from ehrpose.results.results import COLUMNS, Results

# Rows of a table that are collected before they are written.
_CHUNK = 5000
_NOTHING: Any = object()


def printable(name: str) -> str:
    """Return a file name with escapes for bytes that are not UTF-8, which a text file cannot hold."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


class PredictionWriter:
    """Writes the results of one run.

    ``add`` is called for each photo or frame in order, then ``close`` or ``abort`` once.

    Args:
        folder: Where the files belong; made if missing.
        name: Name of a file for the whole run, without suffix.

    Raises:
        NotADirectoryError, IsADirectoryError, PermissionError: The folder cannot be written to.
        WriteError: The disk is full or fails.
    """

    def __init__(self, folder: Union[str, Path], name: str):
        self.folder, self.name = Path(folder), name

    def add(self, results: Results, stem: str) -> None:
        """Write one photo or frame.

        Args:
            results: Its people.
            stem: Name for a file of its own, without suffix.
        """
        raise NotImplementedError

    def close(self) -> List[Path]:
        """Put the files in place; return them."""
        raise NotImplementedError

    def abort(self) -> None:
        """Remove what is not in place."""


class OneFileWriter(PredictionWriter):
    """A text file for the whole run, written as the results come."""

    suffix = ""
    start = end = ""

    def __init__(self, folder: Union[str, Path], name: str):
        super().__init__(folder, name)
        self.path = self.folder / f"{name}{self.suffix}"
        self._file = GrowingFile(self.path, self._begin)

    def text(self, results: Results) -> str:
        """Return what is added to the file for a photo or frame."""
        raise NotImplementedError

    def add(self, results: Results, stem: str) -> None:
        with self._file.writer() as file:
            file.write(self.text(results))

    def close(self) -> List[Path]:
        self._file.close(self.end)
        return [self.path]

    def abort(self) -> None:
        self._file.abort()

    def _begin(self, path: Path) -> TextIO:
        file = open_text(path)
        file.write(self.start)
        return file


class JsonLinesWriter(OneFileWriter):
    """One line of JSON for each photo or frame, as ``Results.to_dict`` returns it."""

    suffix = ".jsonl"

    def text(self, results: Results) -> str:
        return results.to_json() + "\n"


class CsvWriter(OneFileWriter):
    """A row for each keypoint, with the columns of docs/results.md."""

    suffix = ".csv"
    start = ",".join(COLUMNS) + "\n"

    def text(self, results: Results) -> str:
        buffer = io.StringIO()
        rows = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
        rows.writerows(results.to_rows())
        return buffer.getvalue()


class CocoWriter(OneFileWriter):
    """COCO's list of keypoint results."""

    suffix = ".json"
    start, end = "[", "]\n"

    def __init__(self, folder: Union[str, Path], name: str):
        super().__init__(folder, f"{name}_coco")
        self._between = ""

    def text(self, results: Results) -> str:
        parts = []
        for row in results.to_coco():
            parts.append(self._between + json.dumps(row))
            self._between = ",\n"
        return "".join(parts)


def parquet_schema() -> Any:
    """Return the types of ``COLUMNS``, a ``pyarrow.Schema``."""
    import pyarrow

    kinds = {
        "frame": pyarrow.int64(), "file": pyarrow.string(), "time": pyarrow.float64(), "person": pyarrow.int32(),
        "id": pyarrow.int64(), "person_score": pyarrow.float32(), "keypoint": pyarrow.string(),
        "x": pyarrow.float32(), "y": pyarrow.float32(), "score": pyarrow.float32(), "filled": pyarrow.bool_(),
    }  # fmt: skip
    return pyarrow.schema([(column, kinds[column]) for column in COLUMNS])


class ParquetWriter(PredictionWriter):
    """The rows of ``CsvWriter`` as Parquet, by pyarrow.

    Raises:
        ValueError: pyarrow is not installed.
    """

    def __init__(self, folder: Union[str, Path], name: str):
        super().__init__(folder, name)
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ValueError("Parquet needs pyarrow, which is not installed: pip install pyarrow") from error
        self._arrow = pyarrow
        self._schema = parquet_schema()
        self.path = self.folder / f"{name}.parquet"
        self._file = GrowingFile(self.path, self._begin)
        self._rows: List[Dict[str, Any]] = []

    def add(self, results: Results, stem: str) -> None:
        rows = results.to_rows()
        for row in rows:
            row["file"] = None if row["file"] is None else printable(row["file"])
        self._rows += rows
        if len(self._rows) >= _CHUNK:
            self._flush()

    def close(self) -> List[Path]:
        try:
            self._flush()
        except OSError:
            self.abort()
            raise
        self._file.close()
        return [self.path]

    def abort(self) -> None:
        self._file.abort()

    def _begin(self, path: Path) -> Any:
        return self._arrow.parquet.ParquetWriter(str(path), self._schema)

    def _flush(self) -> None:
        with self._file.writer() as file:
            file.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
        self._rows = []


class _FileEach(PredictionWriter):
    """A file for each photo or frame."""

    def __init__(self, folder: Union[str, Path], name: str):
        super().__init__(folder, name)
        self._files = FileGroup()
        self._written: List[Path] = []

    def write(self, path: Path, text: str) -> None:
        """Write a file of the run."""
        self._files.write(path, text.encode("utf-8"))
        self._written.append(path)

    def close(self) -> List[Path]:
        self._files.settle()
        return self._written

    def abort(self) -> None:
        self._files.settle()


class OpenPoseWriter(_FileEach):
    """OpenPose's JSON, ``NAME_keypoints.json``; of a video in a folder of its name."""

    def add(self, results: Results, stem: str) -> None:
        folder = self.folder if results.time is None else self.folder / self.name
        self.write(folder / f"{stem}_keypoints.json", json.dumps(results.to_openpose()))


class YoloWriter(_FileEach):
    """YOLO's labels, ``labels/NAME.txt``, of a video ``labels/VIDEO_FRAME.txt``; ``data.yaml`` has the skeleton.

    Each line is ``0 cx cy w h`` and ``x y v`` for each keypoint, as fractions of the photo; v is 2, or 0 where a
    keypoint was not found or lies outside of the photo.
    """

    def __init__(self, folder: Union[str, Path], name: str):
        super().__init__(folder, name)
        self._meta: Any = _NOTHING

    def add(self, results: Results, stem: str) -> None:
        self._meta = results.meta
        stem = stem if results.time is None else f"{self.name}_{stem}"
        self.write(self.folder / "labels" / f"{stem}.txt", "".join(map(_yolo_line, *_yolo_arrays(results))))

    def close(self) -> List[Path]:
        written = super().close()
        if self._meta is _NOTHING:
            return written
        path = self.folder / "data.yaml"
        content = (
            "# Labels that a network proposed, not a person: check them before training on them.\n"
            "path: .\ntrain: images\nval: images\n"
            f"kpt_shape: [{self._meta.num_keypoints}, 3]\n"
            f"flip_idx: {list(map(int, self._meta.flip_indices))}\n"
            f"names:\n  0: person\nkpt_names:\n  0: {json.dumps(list(self._meta.names))}\n"
        )
        write_text(path, content)
        return [*written, path]


def _yolo_arrays(results: Results) -> List[np.ndarray]:
    """Return (N, 4) centre and size of the boxes and (N, K, 3) keypoints, as fractions of the photo."""
    size = np.array(results.size_wh, np.float64)
    low, high = results.boxes[:, :2] / size, results.boxes[:, 2:] / size
    low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    places = results.keypoints.astype(np.float64) / size
    inside = ((places >= 0) & (places <= 1)).all(axis=2) & (results.keypoint_scores > 0)
    points = np.concatenate([places * inside[..., None], 2.0 * inside[..., None]], axis=2)
    return [np.concatenate([(low + high) / 2, high - low], axis=1), points]


def _yolo_line(box: np.ndarray, points: np.ndarray) -> str:
    words = [f"{value:.6f}" for value in box] + [f"{x:.6f} {y:.6f} {int(v)}" for x, y, v in points]
    return " ".join(["0", *words]) + "\n"


def _motion(folder: Union[str, Path], name: str) -> PredictionWriter:
    from ehrpose.results.motion import MotionWriter  # both are based on this module

    return MotionWriter(folder, name)


def _trc(folder: Union[str, Path], name: str, **options: Any) -> PredictionWriter:
    from ehrpose.results.trc import TrcWriter

    return TrcWriter(folder, name, **options)


# ``json`` is the format of MMPose's inferencer, which ``media.outputs`` writes itself.
JSON = "json"
WRITERS: Dict[str, Callable[..., PredictionWriter]] = {
    "jsonl": JsonLinesWriter,
    "csv": CsvWriter,
    "parquet": ParquetWriter,
    "coco": CocoWriter,
    "openpose": OpenPoseWriter,
    "yolo": YoloWriter,
    "motion": _motion,
    "trc": _trc,
}
