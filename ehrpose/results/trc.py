"""The marker file (.trc) of OpenSim and other tools of biomechanics: the keypoints of one person over time.

Source: OpenSim's documentation, page "Marker (.trc) Files", and what its reader asks for: a row ends in a tab, as it
would otherwise lack the last of its cells where that is empty.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from array import array
from pathlib import Path
from typing import IO, Any, Dict, List, Optional, Tuple, Union

import numpy as np

from ehrpose.counted import counted
from ehrpose.files import PartialFile, explained, make_parent
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.results.results import Results
from ehrpose.results.writers import PredictionWriter, printable

# Characters of rows that are collected before they are written.
_CHUNK = 1 << 16


class _Track:
    """The rows of one person that are not in the file of rows yet, and where the others are in it.

    Attributes:
        first: Index of the frame in which the person was first seen, of those that were added.
        last: Likewise of the last row.
        waiting: Rows to write.
        places: Start and length of the written ones, bytes.
    """

    __slots__ = ("first", "last", "places", "waiting")

    def __init__(self, first: int):
        self.first, self.last = first, first - 1
        self.waiting: List[str] = []
        self.places: List[Tuple[int, int]] = []


class TrcWriter(PredictionWriter):
    """A file for each track id of a video, ``NAME_id0.trc``.

    A person's rows reach from the first frame in which the person was seen to the last one; in between, missing
    keypoints are empty. X points to the right and Y up from the photo's lower left corner, Z is 0. Frame 1 is the
    video's first one, also where a person comes later, and times are the video's: ``OrigDataStartFrame`` is 1.

    As the header states the number of rows, these wait in one nameless file in the folder. Memory grows by 16 bytes a
    frame, and with the number of ids.

    Args:
        folder: Where the files belong; made if missing.
        name: Beginning of their names.
        metres_per_px: Size of a pixel, for coordinates in m instead of px.

    Raises:
        ValueError: ``metres_per_px`` is not above 0; with ``add``: the results are of a photo, or have no track ids.
    """

    def __init__(self, folder: Union[str, Path], name: str, metres_per_px: Optional[float] = None):
        super().__init__(folder, name)
        if metres_per_px is not None and not 0 < metres_per_px < np.inf:
            raise ValueError(f"expected `metres_per_px` as a number above 0, got {metres_per_px}")
        self._unit, self._scale = ("px", 1.0) if metres_per_px is None else ("m", float(metres_per_px))
        self._decimals = 3 if metres_per_px is None else 6
        self._meta: Optional[KeypointMeta] = None
        self._tracks: Dict[int, _Track] = {}
        self._numbers, self._times = array("q"), array("d")
        self._rows: Optional[IO[bytes]] = None
        self._waiting = self._left_out = self._frames_left_out = 0

    def add(self, results: Results, stem: str) -> None:
        refuse_photos(results.time is None)
        if results.ids is None:
            raise ValueError("a .trc file follows one person, but the people have no ids: add `tracker=True`")
        self._meta = results.meta
        index = len(self._times)
        self._numbers.append(results.frame + 1)
        self._times.append(float(results.time or 0.0))
        left_out = 0
        for n, track_id in enumerate(results.ids.tolist()):
            track = self._tracks.get(track_id)
            if track_id < 0 or (track is not None and track.last == index):
                left_out += 1
                continue
            if track is None:
                track = self._tracks[track_id] = _Track(index)
            self._add_row(track, index, self._cells(results, n))
        self._left_out += left_out
        self._frames_left_out += left_out > 0
        if self._waiting >= _CHUNK:
            self._write_rows()

    def close(self) -> List[Path]:
        partials: List[PartialFile] = []
        try:
            self._write_rows()
            for track_id, track in sorted(self._tracks.items()):
                partials.append(PartialFile(self.folder / f"{self.name}_id{track_id}.trc"))
                self._write_file(partials[-1], track)
            for partial in partials:
                partial.commit()
        except BaseException:
            for partial in partials:
                partial.abort()
            raise
        finally:
            self.abort()
        self._tell()
        return [partial.path for partial in partials]

    def abort(self) -> None:
        if self._rows is not None:
            with contextlib.suppress(OSError):  # on a full disk, the final flush fails too
                self._rows.close()
            self._rows = None

    def _cells(self, results: Results, n: int) -> str:
        places = results.keypoints[n].astype(np.float64)
        present = np.isfinite(places).all(axis=1) & (results.keypoint_scores[n] > 0)
        x = places[:, 0] * self._scale
        y = (results.size_wh[1] - places[:, 1]) * self._scale
        digits = self._decimals
        return "".join(
            f"{x[k]:.{digits}f}\t{y[k]:.{digits}f}\t0\t" if present[k] else "\t\t\t"
            for k in range(len(places))
        )

    def _add_row(self, track: _Track, index: int, cells: str) -> None:
        """Add the row of a frame, and empty ones for the frames since the last."""
        nothing = "\t" * cells.count("\t")
        for row in range(track.last + 1, index + 1):
            text = f"{self._numbers[row]}\t{self._times[row]:.6f}\t{cells if row == index else nothing}\n"
            track.waiting.append(text)
            self._waiting += len(text)
        track.last = index

    def _write_rows(self) -> None:
        with explained(self.folder / f"{self.name}.trc"):
            for track in self._tracks.values():
                if not track.waiting:
                    continue
                if self._rows is None:
                    make_parent(self.folder / self.name)
                    # In the folder, as the usual one for temporary files may be small, or memory.
                    self._rows = tempfile.TemporaryFile(dir=str(self.folder))  # noqa: SIM115 (see abort)
                content = "".join(track.waiting).encode("ascii")
                track.places.append((self._rows.tell(), len(content)))
                self._rows.write(content)
                track.waiting = []
        self._waiting = 0

    def _write_file(self, partial: PartialFile, track: _Track) -> None:
        rows: Any = self._rows
        with partial.explained(), partial.create().open("wb") as file:
            file.write(self._header(partial.path.name, track).encode("utf-8"))
            for start, length in track.places:
                rows.seek(start)
                file.write(rows.read(length))

    def _header(self, name: str, track: _Track) -> str:
        assert self._meta is not None
        rate, whole = f"{self._rate():.6g}", self._numbers[-1]
        fields = {
            "DataRate": rate, "CameraRate": rate, "NumFrames": track.last - track.first + 1,
            "NumMarkers": self._meta.num_keypoints, "Units": self._unit, "OrigDataRate": rate,
            "OrigDataStartFrame": 1, "OrigNumFrames": whole,
        }  # fmt: skip
        markers = ["_".join(name.split()) for name in self._meta.names]
        axes = [f"{axis}{number}" for number in range(1, len(markers) + 1) for axis in "XYZ"]
        lines = [
            ["PathFileType", "4", "(X/Y/Z)", printable(name)],
            list(fields),
            [str(value) for value in fields.values()],
            ["Frame#", "Time", *(f"{marker}\t\t" for marker in markers), ""],
            ["", "", *axes, ""],
            [""],
        ]
        return "".join("\t".join(line) + "\n" for line in lines)

    def _rate(self) -> float:
        """Return the mean rate of the frames, Hz; 1 for a single one, of which it is not known."""
        seconds = self._times[-1] - self._times[0]
        frames = self._numbers[-1] - self._numbers[0]
        return frames / seconds if seconds > 0 and frames > 0 else 1.0

    def _tell(self) -> None:
        if self._left_out:
            who = (
                f"{counted(self._left_out, 'person', 'people')} in {counted(self._frames_left_out, 'frame')}"
            )
            print(
                f"{self.name}: left out of the .trc files, as they have no track id: {who}", file=sys.stderr
            )


def refuse_photos(is_photo: bool) -> None:
    """Raise ValueError for photos, which have no time and nobody to follow."""
    if is_photo:
        raise ValueError(
            "expected a video or camera for the format trc, got photos: with `fps` they are the frames of a video"
        )
