from __future__ import annotations

import json
import time

import cv2
import numpy as np
import pytest
from squares import SquarePeople, do_item, do_items, write_photos, write_video

from ehrpose.batch import outputs
from ehrpose.batch.inputs import find_inputs
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.outputs import Outputs
from ehrpose.batch.planning import make_plan
from ehrpose.batch.sink import INPUT, RUN, Sink
from ehrpose.inferencers.inferencer import PoseInferencer


@pytest.fixture
def folder(tmp_path):
    folder = write_photos(tmp_path / "in", 5)
    write_video(folder / "a.mkv", 30, g=5)
    write_video(folder / "b.mp4", 6)
    return folder


def prepare(folder, out, **changes):
    options = BatchOptions(**{"piece_frames": 8, "item_photos": 2, **changes})
    sink = Sink(out, "run")
    return make_plan(find_inputs([str(folder)]), sink, options), sink, options


def write(plan, sink, options):
    return Outputs(plan, sink, options, SquarePeople.meta).write()


def contents(out):
    """Return the bytes of all that a batch writes, but for the records' times."""
    paths = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".json"]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_the_table_has_all_photos_as_predict_gives_them_and_all_videos(folder, tmp_path):
    (folder / "1.png").write_bytes(b"broken")
    plan, sink, options = prepare(folder, tmp_path / "out")
    do_items(plan, sink, options)
    merged = write(plan, sink, options)
    photos = [str(path) for path in sorted(folder.glob("*.png"))]
    list(PoseInferencer(SquarePeople())(photos, pred_out_dir=str(tmp_path / "p"), pred_format="jsonl"))
    lines = (tmp_path / "out/photos.jsonl").read_bytes()
    assert lines == (tmp_path / "p/predictions.jsonl").read_bytes()
    videos = [(tmp_path / f"out/videos/{name}.jsonl").read_bytes() for name in "ab"]
    assert merged.table.read_bytes() == lines + b"".join(videos)
    assert (merged.photos, merged.bad_photos, merged.whole, merged.frames) == (4, 1, 2, 40)
    (row,) = map(json.loads, (tmp_path / "out/errors.jsonl").read_text().splitlines())
    assert row["file"] == str(folder / "1.png")
    assert "1.png" in row["error"]


def test_parquet_has_the_same_rows_as_one_table(folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is in the extra 'tests'")
    plan, sink, options = prepare(folder, tmp_path / "out", format="parquet", track=True)
    do_items(plan, sink, options)
    merged = write(plan, sink, options)
    table = parquet.read_table(merged.table)
    parts = [parquet.read_table(tmp_path / "out" / name) for name in
             ("photos.parquet", "videos/a.parquet", "videos/b.parquet")]  # fmt: skip
    assert table.num_rows == sum(part.num_rows for part in parts) > 100
    assert table.slice(parts[0].num_rows, parts[1].num_rows).equals(parts[1])
    assert set(table.column("id").to_pylist()) >= {None, 0, 1}


def test_outputs_do_not_depend_on_the_order_of_the_items(folder, tmp_path):
    plan, sink, options = prepare(folder, tmp_path / "a")
    do_items(plan, sink, options)
    write(plan, sink, options)
    other, sink, options = prepare(folder, tmp_path / "b")
    for item in reversed(other.items):
        do_item(item, sink, options)
        write(other, sink, options)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_table_waits_for_the_last_item(folder, tmp_path):
    plan, sink, options = prepare(folder, tmp_path / "out")
    last = plan.videos[0].items[2]
    do_items(plan, sink, options, {item.key for item in plan.items} - {last.key})
    merged = write(plan, sink, options)
    assert (merged.open, merged.table) == (1, None)
    out = tmp_path / "out"
    assert (out / "videos/b.jsonl").exists()
    assert not (out / "videos/a.jsonl").exists()
    assert not (out / "table.jsonl").exists()
    do_item(last, sink, options)
    assert write(plan, sink, options).table is not None


def test_what_is_written_is_not_written_again(folder, tmp_path):
    plan, sink, options = prepare(folder, tmp_path / "out")
    do_items(plan, sink, options)
    table = write(plan, sink, options).table
    before = {path: path.stat().st_ino for path in (table, tmp_path / "out/videos/a.jsonl")}
    write(plan, sink, options)
    assert {path: path.stat().st_ino for path in before} == before
    (tmp_path / "out/videos/a.jsonl").unlink()
    write(plan, sink, options)
    assert (tmp_path / "out/videos/a.jsonl").exists()
    tracked = BatchOptions(piece_frames=8, item_photos=2, track=True)
    write(plan, sink, tracked)
    assert b'"track_id"' in table.read_bytes(), "tracking is part of the tables alone"
    pytest.importorskip("pyarrow", reason="pyarrow is in the extra 'tests'")
    write(plan, sink, BatchOptions(piece_frames=8, item_photos=2, format="parquet"))
    left = {path.name for path in (tmp_path / "out").rglob("*.jsonl")}
    assert left == {"errors.jsonl"}, "no table that may be out of date stays"


def test_a_damaged_part_is_made_again(folder, tmp_path):
    plan, sink, options = prepare(folder, tmp_path / "out")
    do_items(plan, sink, options)
    item = plan.videos[0].items[1]
    part = tmp_path / f"out/items/{item.key}.npz"
    content = bytearray(part.read_bytes())
    content[300] ^= 1
    part.write_bytes(content)
    assert sink.record(item) is not None, "its length is right"
    assert write(plan, sink, options).again
    assert sink.record(item) is None
    assert sum(sink.record(other) is None for other in plan.items) == 1
    part.write_bytes(content[:-1])
    do_item(item, sink, options)
    assert not write(plan, sink, options).again


def test_failed_and_incomplete_videos_are_listed(folder, tmp_path):
    (folder / "broken.mp4").write_bytes(b"no video")
    cut = write_video(folder / "cut.avi", 30, codec="mjpeg")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    plan, sink, options = prepare(folder, tmp_path / "out")
    out = tmp_path / "out"
    broken = next(video for video in plan.videos if video.name == "broken").items[0]
    with pytest.raises(ValueError, match="is not a readable video"):
        do_item(broken, sink, options)
    sink.fail(broken, INPUT, "it is broken")
    (out / "videos").mkdir()
    (out / "videos/broken.jsonl").write_text("of a file that was whole")
    do_items(plan, sink, options, {item.key for item in plan.items} - {broken.key})
    merged = write(plan, sink, options)
    assert (merged.whole, merged.incomplete, merged.failed) == (2, 1, 1)
    rows = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert rows[0] == {"file": str(folder / "broken.mp4"), "error": "it is broken"}
    assert rows[1]["file"] == str(cut)
    assert rows[1]["error"].startswith("the end is broken or missing; ")
    assert not (out / "videos/broken.jsonl").exists()
    frames = len((out / "videos/cut.jsonl").read_text().splitlines())
    assert 5 < frames < 30, "the frames before the break are kept"


def test_what_failed_is_tried_again_where_that_may_help(folder, tmp_path):
    plan, sink, _ = prepare(folder, tmp_path / "out")
    item = plan.items[0]
    for kind, retry_failed, is_open in ((INPUT, False, False), (INPUT, True, True), (RUN, False, True)):
        sink.fail(item, kind, "a reason")
        assert not sink.is_open(sink.record(item), retry_failed), "not twice in a run"
        later = Sink(tmp_path / "out", "run")
        later.started = time.time() + 1
        assert later.is_open(later.record(item), retry_failed) == is_open
    (folder / "0.png").write_bytes(b"broken")
    plan, _, options = prepare(folder, tmp_path / "out")
    do_item(plan.items[0], sink, options)
    assert not later.is_open(later.record(plan.items[0]))
    assert later.is_open(later.record(plan.items[0]), retry_failed=True), "a photo of it could not be read"


def test_a_record_is_of_one_run_and_of_the_files_as_they_were(folder, tmp_path):
    plan, sink, options = prepare(folder, tmp_path / "out")
    do_items(plan, sink, options)
    assert all(sink.record(item) is not None for item in plan.items)
    assert all(Sink(tmp_path / "out", "another").record(item) is None for item in plan.items)
    cv2.imwrite(str(folder / "3.png"), np.zeros((8, 9, 3), np.uint8))
    again, sink, _ = prepare(folder, tmp_path / "out")
    assert [item.files[0][-5:] for item in again.items if sink.record(item) is None] == ["2.png"]
    (tmp_path / f"out/items/{plan.items[-1].key}.npz").unlink()
    assert sink.record(plan.items[-1]) is None
    (tmp_path / f"out/items/{plan.items[-2].key}.json").write_text("{")
    assert sink.record(plan.items[-2]) is None


@pytest.fixture
def side_by_side(monkeypatch):
    """Let videos be joined by two processes, however short; return what they got, and what this one has written."""
    handed, pool = [], outputs.ProcessPoolExecutor

    class Pool(pool):
        def map(self, function, each):
            handed.extend(each)
            return super().map(function, each)

    def write_rows(self, path, *rest):
        here.append(path)
        return write_rows_of_one(self, path, *rest)

    here, write_rows_of_one = [], Outputs._write_rows
    monkeypatch.setattr(Outputs, "_write_rows", write_rows)
    monkeypatch.setattr(outputs, "_MANY_FRAMES", 1)
    monkeypatch.setattr(outputs, "available_cores", lambda: 2)
    monkeypatch.setattr(outputs, "ProcessPoolExecutor", Pool)
    return handed, here


@pytest.mark.parametrize("changes", [{}, {"track": True, "format": "parquet"}], ids=str)
def test_videos_joined_side_by_side_have_the_same_bytes(folder, tmp_path, side_by_side, monkeypatch, changes):
    if changes.get("format") == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is in the extra 'results'")
    write_video(folder / "c.mp4", 20)
    made, (handed, here) = [], side_by_side
    for name in ("apart", "one"):
        plan, sink, options = prepare(folder, tmp_path / name, **changes)
        do_items(plan, sink, options)
        merged = write(plan, sink, options)
        made.append((contents(tmp_path / name), merged.frames, merged.people, merged.whole, merged.errors))
        assert len(handed) == 3  # of the first folder, in the first turn
        assert len(here) == (1 if name == "apart" else 5)  # the photos; then all
        assert write(plan, sink, options).frames == merged.frames  # all is made
        assert len(handed) == 3
        monkeypatch.setattr(outputs, "_MANY_FRAMES", 1000)
    assert made[0] == made[1]


def test_videos_of_a_store_are_joined_side_by_side(folder, tmp_path, side_by_side, monkeypatch):
    pytest.importorskip("fsspec", reason="fsspec is in the extra 'cloud'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out/items").mkdir(parents=True)
    (tmp_path / "out/videos").mkdir()
    plan, sink, options = prepare(folder, f"file://{tmp_path}/out")
    do_items(plan, sink, options)
    merged = write(plan, sink, options)
    assert (merged.whole, merged.frames) == (2, 41)
    assert side_by_side[1] == ["photos.jsonl"]
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}  # no draft where the command runs
    plan, sink, options = prepare(folder, tmp_path / "local")
    do_items(plan, sink, options)
    write(plan, sink, options)
    for name in ("videos/a.jsonl", "videos/b.jsonl", "table.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


def test_a_damaged_part_is_made_again_whoever_joins_it(folder, tmp_path, side_by_side):
    plan, sink, options = prepare(folder, tmp_path / "out")
    do_items(plan, sink, options)
    (video, other) = plan.videos
    part = tmp_path / "out/items" / f"{video.items[1].key}.npz"
    part.write_bytes(part.read_bytes()[:-9] + bytes(9))
    merged = write(plan, sink, options)
    assert merged.again or merged.open
    assert merged.table is None
    assert sink.record(video.items[1]) is None
    assert (tmp_path / f"out/videos/{other.name}.jsonl").exists()
    assert not (tmp_path / f"out/videos/{video.name}.jsonl").exists()
    do_items(plan, sink, options)
    assert write(plan, sink, options).whole == 2
