from __future__ import annotations

import os
import pickle

import pytest
from squares import write_photos, write_video

from ehrpose.batch.inputs import Found, find_inputs
from ehrpose.batch.items import photo_items, video_names
from ehrpose.batch.options import BatchOptions, parse_shard
from ehrpose.batch.planning import make_plan
from ehrpose.batch.run import share_cores
from ehrpose.batch.sink import Sink
from ehrpose.media.pieces import WHOLE


@pytest.fixture
def folder(tmp_path):
    """Three photos, a video, a text and a folder."""
    folder = write_photos(tmp_path / "in", 3)
    write_video(folder / "clip.mp4", 6)
    (folder / "notes.txt").write_text("x")
    (folder / "more").mkdir()
    write_photos(folder / "more", 1)
    return folder


def names(found):
    return [os.path.basename(name) for name in (*found.photos, *found.videos)]


def test_files_folders_globs_and_lists_name_files_once(folder, tmp_path, capsys):
    assert names(find_inputs([str(folder)])) == ["0.png", "1.png", "2.png", "clip.mp4"]
    assert "passed over 2 others: more/, notes.txt" in capsys.readouterr().err
    pattern = str(folder / "**" / "*.png")
    assert len(find_inputs([pattern]).photos) == 4
    (tmp_path / "link.png").symlink_to(folder / "0.png")
    (tmp_path / "list.txt").write_text(
        f"# of today\n{folder / '2.png'}\n\n{folder}/./1.png \n{tmp_path / 'gone.mp4'}\n{folder / 'more'}\n"
    )
    words = [
        str(folder / "0.png"),
        str(tmp_path / "link.png"),
        f"@{tmp_path / 'list.txt'}",
        str(folder / "1.png"),
    ]
    found = find_inputs(words)
    assert names(found) == ["0.png", "2.png", "1.png", "0.png", "gone.mp4"]
    assert find_inputs([words[0], str(folder / "1.png")], [str(tmp_path / "list.txt")]).videos == found.videos


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["nowhere.mp4"], FileNotFoundError, "no such file, folder or glob: nowhere.mp4"),
        (["in/*.gif"], FileNotFoundError, "no such file, folder or glob: in/\\*.gif"),
        (["empty"], FileNotFoundError, "no photos or videos in the folder empty"),
        (["rtsp://camera/1"], ValueError, "is a URL: download it first"),
        (["webcam:0"], ValueError, "webcam:0 is a camera: expected photos and videos"),
        (["@none.txt"], FileNotFoundError, "none.txt"),
        (["@binary.txt"], ValueError, "expected a list of files as UTF-8 text"),
    ],
)
def test_inputs_that_cannot_be_used_are_named(tmp_path, monkeypatch, words, kind, message):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(kind, match=message):
        find_inputs(words)


def test_plans_are_the_same_whoever_makes_them(folder, tmp_path):
    write_video(folder / "long.mkv", 70, g=9)
    found = find_inputs([str(folder)])
    options = BatchOptions(piece_frames=14, item_photos=2)
    plans = [make_plan(found, Sink(tmp_path / name), options) for name in ("a", "b", "a")]
    assert plans[0] == plans[1] == plans[2]
    assert pickle.loads(pickle.dumps(plans[0])) == plans[0]
    (short, long) = plans[0].videos
    assert [item.piece for item in short.items] == [WHOLE]
    assert len(long.items) >= 4
    assert sum(item.weight for item in long.items) == 70
    assert [len(item.files) for item in plans[0].photos] == [2, 1]
    keys = [item.key for item in plans[0].items]
    assert len(set(keys)) == len(keys)
    kept = sorted(path.name for path in (tmp_path / "a/items").glob("*.plan.json"))
    assert len(kept) == 2


def test_shards_are_disjoint_and_complete(folder, tmp_path):
    write_video(folder / "long.mkv", 70, g=9)
    sink, options = Sink(tmp_path / "out"), BatchOptions(piece_frames=14, item_photos=1)
    found = find_inputs([str(folder)])
    plan = make_plan(found, sink, options)
    for count in (1, 2, 3, 20):
        keys = [item.key for number in range(count) for item in plan.of_shard(number + 1, count)]
        assert sorted(keys) == sorted(item.key for item in plan.items)
    sink.mark_whole(plan.videos[1].items[2], "a test")
    whole = make_plan(found, sink, options)
    before = {item.key: item.place for item in plan.items}
    for item in whole.items:  # what other shards have stays theirs
        assert item.place == before.get(item.key, plan.videos[1].items[0].place)
    assert len(whole.videos[1].items) == 1


def test_a_changed_video_gets_a_new_plan(tmp_path):
    video = write_video(tmp_path / "a.mkv", 70, g=9)
    sink, options = Sink(tmp_path / "out"), BatchOptions(piece_frames=14)
    found = Found((), (str(video),))
    before = make_plan(found, sink, options)
    sink.mark_whole(before.items[0], "a test")
    write_video(video, 40, g=9)
    after = make_plan(found, sink, options)
    assert sum(item.weight for item in after.items) == 40
    assert len(after.items) > 1, "the mark was of the file before"
    assert {item.state for item in after.items}.isdisjoint({item.state for item in before.items})


def test_videos_of_one_name_get_outputs_of_their_own(tmp_path):
    names = video_names(["a/clip.mp4", "b/CLIP.mkv", "other.mp4"])
    assert names[2] == "other"
    assert len({name.casefold() for name in names}) == 3
    assert names[:1] == video_names(["a/clip.mp4", "c/clip.mp4"])[:1]


def test_photos_are_divided_in_order():
    items = photo_items([f"{i}.jpg" for i in range(5)], 2)
    assert [item.files for item in items] == [("0.jpg", "1.jpg"), ("2.jpg", "3.jpg"), ("4.jpg",)]
    assert [item.place for item in items] == [0, 1, 2]


def test_options_are_checked():
    assert parse_shard("2/8") == (2, 8)
    for text in ("0/3", "4/3", "3", "a/b", "1/0", "-1/2"):
        with pytest.raises(ValueError, match="expected `shard` as I/N"):
            parse_shard(text)
    for changes, message in [
        ({"workers": 0}, "`workers`"),
        ({"piece_frames": 1}, "`piece_frames`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"retries": -1}, "`retries`"),
        ({"format": "csv"}, "expected one of parquet, jsonl"),
        ({"shard": (3, 2)}, "`shard`"),
        ({"bbox_thr": float("nan")}, "`bbox_thr`"),
    ]:
        with pytest.raises(ValueError, match=message):
            BatchOptions(**changes)


def test_cores_are_shared(monkeypatch):
    import ehrpose.batch.run as run

    monkeypatch.setattr(run, "available_cores", lambda: 8)
    monkeypatch.setattr(run, "has_nvidia", lambda: False)
    assert share_cores(BatchOptions()) == (8, 1)
    assert share_cores(BatchOptions(workers=3)) == (3, 2)
    assert share_cores(BatchOptions(workers=16)) == (16, 1)
    assert share_cores(BatchOptions(num_threads=4)) == (2, 4)
    assert share_cores(BatchOptions(device="cuda:0")) == (1, 8)
    kept = {"model": {"num_threads": 2}}
    assert share_cores(BatchOptions(), kept) == (4, 2), "torch's digits depend on them"
    assert share_cores(BatchOptions(workers=1), kept) == (1, 2)
