"""Marker files, read by the documented form: header of three lines, two of labels, a blank one, rows."""

from __future__ import annotations

import errno
import tracemalloc

import numpy as np
import pytest

from ehrpose.files import WriteError
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.results.results import Results
from ehrpose.results.trc import TrcWriter
from ehrpose.results.writers import WRITERS
from ehrpose.structures import People

SIZE_WH = (200, 100)
KEYS = [
    *("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units"),
    *("OrigDataRate", "OrigDataStartFrame", "OrigNumFrames"),
]


@pytest.fixture(scope="module")
def meta(coco_keypoints):
    return KeypointMeta.build(coco_keypoints)


def frame(meta, index, ids, rate=25.0):
    """A frame of people whose keypoint k is at (10 id + k, index + k); the last keypoint is missing."""
    ids = np.asarray(ids, np.int64)
    keypoints = np.tile(np.arange(17, dtype=np.float32)[:, None], (len(ids), 1, 2))
    keypoints += np.stack([10 * ids, np.full(len(ids), index)], axis=1)[:, None]
    scores = np.full((len(ids), 17), 0.5, np.float32)
    scores[:, 16] = 0
    people = People(keypoints.astype(np.float32), scores, np.full(len(ids), 0.5, np.float32))
    return Results(people, meta, SIZE_WH, "clip.mp4", index, index / rate, ids)


def write(meta, folder, frames, **options):
    writer = WRITERS["trc"](folder, "clip", **options)
    for index, ids in frames:
        writer.add(frame(meta, index, ids), f"{index:06d}")
    return writer.close()


def read(path):
    """Return the fields of the header, marker names, frame numbers, times and (F, M, 3) places."""
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines[0] == f"PathFileType\t4\t(X/Y/Z)\t{path.name}"
    assert lines[1].split("\t") == KEYS
    header = dict(zip(KEYS, lines[2].split("\t"), strict=True))
    labels = lines[3].split("\t")
    assert labels[:2] == ["Frame#", "Time"]
    markers = labels[2:-1:3]
    axes = lines[4].split("\t")
    assert axes == ["", "", *(f"{axis}{i + 1}" for i in range(len(markers)) for axis in "XYZ"), ""]
    assert lines[5] == ""
    assert lines[-1] == ""
    rows = [line.split("\t") for line in lines[6:-1]]
    assert {len(row) for row in rows} == {3 * len(markers) + 3}  # each cell ends in a tab
    assert {row[-1] for row in rows} == {""}
    places = np.array([[float(cell) if cell else np.nan for cell in row[2:-1]] for row in rows])
    assert int(header["NumFrames"]) == len(rows)
    assert int(header["NumMarkers"]) == len(markers)
    return (
        header,
        markers,
        [int(row[0]) for row in rows],
        [float(row[1]) for row in rows],
        places.reshape(len(rows), len(markers), 3),
    )


def test_x_goes_right_y_up_and_z_is_zero(meta, tmp_path):
    (path,) = write(meta, tmp_path, [(0, [0]), (1, [0])])
    assert path.name == "clip_id0.trc"
    header, markers, numbers, times, places = read(path)
    assert markers == list(meta.names)
    assert (header["DataRate"], header["CameraRate"], header["Units"]) == ("25", "25", "px")
    assert (numbers, times) == ([1, 2], [0, 0.04])
    for index in (0, 1):
        np.testing.assert_allclose(places[index, :16, 0], np.arange(16))
        np.testing.assert_allclose(places[index, :16, 1], 100 - np.arange(16) - index)
    assert (places[:, :16, 2] == 0).all()
    assert np.isnan(places[:, 16]).all()


def test_each_person_has_rows_from_the_first_frame_to_the_last(meta, tmp_path):
    frames = [(0, [3]), (1, [3, 5]), (2, []), (3, [5]), (4, [5, 3]), (5, []), (6, [])]
    first, second = write(meta, tmp_path, frames)
    assert [first.name, second.name] == ["clip_id3.trc", "clip_id5.trc"]
    header, _, numbers, times, places = read(first)
    assert numbers == [1, 2, 3, 4, 5]
    assert np.isnan(places[:, 0, 0]).tolist() == [False, False, True, True, False]
    assert (header["OrigDataStartFrame"], header["OrigNumFrames"]) == ("1", "7")
    header, _, numbers, times, places = read(second)
    assert numbers == [2, 3, 4, 5]
    np.testing.assert_allclose(times, (np.array(numbers) - 1) / float(header["DataRate"]))
    assert np.isnan(places[:, 0, 0]).tolist() == [False, True, False, False]
    np.testing.assert_allclose(places[0, :2, 0], [50, 51])


def test_metres(meta, tmp_path):
    (path,) = write(meta, tmp_path, [(0, [0]), (1, [0])], metres_per_px=0.0025)
    header, _, _, _, places = read(path)
    assert header["Units"] == "m"
    np.testing.assert_allclose(places[1, 3], [0.0075, 0.24, 0], atol=1e-9)
    for bad in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected `metres_per_px` as a number above 0"):
            TrcWriter(tmp_path, "clip", bad)


def test_rates_that_are_not_whole_and_a_single_frame(meta, tmp_path):
    writer = TrcWriter(tmp_path, "clip")
    for index in (10, 11, 13, 400):  # frames that were left out at the start and in between
        writer.add(frame(meta, index, [0], rate=30000 / 1001), "")
    header, _, numbers, _, _ = read(writer.close()[0])
    assert (header["DataRate"], numbers) == ("29.97", [11, 12, 14, 401])
    (path,) = write(meta, tmp_path, [(0, [0])])
    assert read(path)[0]["DataRate"] == "1"


def test_people_without_ids_are_counted(meta, tmp_path, capsys):
    (path,) = write(meta, tmp_path, [(0, [0, -1]), (1, [-1, -1]), (2, [0])])
    assert path.name == "clip_id0.trc"
    told = capsys.readouterr().err
    assert told == "clip: left out of the .trc files, as they have no track id: 3 people in 2 frames\n"
    write(meta, tmp_path, [(0, [0])])
    assert capsys.readouterr().err == ""
    assert write(meta, tmp_path, []) == []


def test_two_people_with_one_id_are_one_row(meta, tmp_path, capsys):
    (path,) = write(meta, tmp_path, [(0, [4, 4]), (1, [4])])
    assert read(path)[2] == [1, 2]
    assert "1 person in 1 frame" in capsys.readouterr().err


class Finder:
    """Finds one person in every photo."""

    name = "finder"

    def __init__(self, meta):
        self.meta = meta

    def predict(self, images):
        return [frame(self.meta, 0, [0]).people for _ in images]


def infer(meta, out, **options):
    photos = [np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8) for _ in range(3)]
    inferencer = PoseInferencer(Finder(meta))
    list(inferencer(photos, pred_out_dir=out, pred_format="trc", **options))
    return inferencer.written


def test_the_inferencer_writes_them(meta, tmp_path):
    (path,) = infer(meta, tmp_path, fps=50, tracker=True)
    assert path.name == "sequence_id0.trc"
    header, _, _, times, _ = read(path)
    assert (header["DataRate"], times) == ("50", [0, 0.02, 0.04])
    (path,) = infer(meta, tmp_path, fps=50, tracker=True, metres_per_px=0.01)
    assert read(path)[0]["Units"] == "m"


def test_photos_and_people_without_a_tracker_are_refused(meta, tmp_path):
    with pytest.raises(ValueError, match="expected a video or camera for the format trc, got photos"):
        infer(meta, tmp_path)
    with pytest.raises(ValueError, match="the people have no ids: add `tracker=True`"):
        infer(meta, tmp_path, fps=25)
    with pytest.raises(ValueError, match="`metres_per_px` belongs to the format trc, got the format csv"):
        PoseInferencer(Finder(meta))([], pred_format="csv", metres_per_px=1.0)
    photo = frame(meta, 0, [0])
    with pytest.raises(ValueError, match="got photos"):
        TrcWriter(tmp_path, "clip").add(Results(photo.people, meta, SIZE_WH, ids=photo.ids), "")
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_no_file(meta, tmp_path):
    (tmp_path / "clip_id1.trc").mkdir()
    with pytest.raises(IsADirectoryError):
        write(meta, tmp_path, [(0, [0, 1, 2])])
    writer = WRITERS["trc"](tmp_path, "other")
    for index in range(400):
        writer.add(frame(meta, index, [0]), "")
    writer.abort()
    assert [path.name for path in tmp_path.iterdir()] == ["clip_id1.trc"]


def test_a_full_disk_is_told_and_leaves_no_file(meta, tmp_path, monkeypatch):
    writer = WRITERS["trc"](tmp_path, "clip")
    for index in range(3):
        writer.add(frame(meta, index, [0, 1]), "")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ehrpose.results.trc.tempfile.TemporaryFile", fail)
    with pytest.raises(WriteError, match=r"clip\.trc could not be written: No space left"):
        writer.close()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_long_videos_of_many_people_take_little_memory(meta, tmp_path):
    writer = WRITERS["trc"](tmp_path, "clip")
    frames = [frame(meta, index, [index // 100, 50 + index % 3]) for index in range(1400)]
    for one in frames[:400]:  # more than is collected before it is written
        writer.add(one, "")
    tracemalloc.start()
    tracemalloc.reset_peak()
    for one in frames[400:]:
        writer.add(one, "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 250_000
    paths = writer.close()
    assert [path.name for path in paths] == [f"clip_id{number}.trc" for number in (*range(14), 50, 51, 52)]
    for number, path in zip((*range(14), 50, 51, 52), paths, strict=True):
        _, _, numbers, _, places = read(path)
        wanted = range(100 * number + 1, 100 * number + 101) if number < 14 else range(number - 49, 1401)
        seen = ~np.isnan(places[:, 0, 0])
        assert numbers[0] == wanted[0]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        np.testing.assert_allclose(places[seen, 0, 0], 10 * number)
        np.testing.assert_allclose(places[seen, 0, 1], 100 - (np.array(numbers)[seen] - 1))
        assert seen.sum() == (100 if number < 14 else len(range(number - 50, 1400, 3)))


def test_opensim_reads_them(meta, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes a log
    opensim = pytest.importorskip("opensim", reason="opensim is not installed")
    (path,) = write(meta, tmp_path, [(2, [0]), (3, []), (4, [0])], metres_per_px=0.01)
    table = opensim.TimeSeriesTableVec3(str(path))
    assert list(table.getColumnLabels()) == list(meta.names)
    np.testing.assert_allclose(list(table.getIndependentColumn()), [0.08, 0.12, 0.16])
    values = table.flatten()
    places = np.array([[values.getRowAtIndex(i)[j] for j in range(51)] for i in range(3)])
    _, _, _, _, wanted = read(path)
    np.testing.assert_allclose(places, wanted.reshape(3, 51))
    markers = opensim.MarkerData(str(path))
    assert (markers.getNumFrames(), markers.getNumMarkers(), markers.getDataRate()) == (3, 17, 25)
    assert markers.getUnits().getLabel() == "meters"
