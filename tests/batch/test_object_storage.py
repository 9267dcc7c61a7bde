"""Inputs and outputs in stores: in memory, and through S3's protocol."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import time
import uuid
from pathlib import Path

import pytest
from squares import SquarePeople, do_item, do_items, write_photos, write_video
from stores import SECRET, objects, put, remove, s3_server, system_of, upload

from ehrpose.batch.folders import CLAIM_ENDS, open_folder
from ehrpose.batch.inputs import find_inputs
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.outputs import Outputs
from ehrpose.batch.planning import make_plan
from ehrpose.batch.process import process_item
from ehrpose.batch.run import claim_folder, read_run
from ehrpose.batch.sink import Sink
from ehrpose.batch.storage import StorageError, VideoCopies, is_address, read_object
from ehrpose.batch.worker import ModelFacts
from ehrpose.files import temporary_folder
from ehrpose.locks import own_name

pytest.importorskip("fsspec", reason="fsspec is in the extra 'cloud'")


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    pytest.importorskip("moto.server", reason="moto and s3fs are installed by make test-cloud")
    pytest.importorskip("s3fs", reason="moto and s3fs are installed by make test-cloud")
    with s3_server(tmp_path_factory.mktemp("home")):
        system_of("s3://bucket")[0].mkdir("bucket")
        yield


@pytest.fixture(params=["memory", "s3"])
def store(request):
    """An empty folder of a store."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    return f"{request.param}://bucket/{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five photos, one of them broken, a long video and a short one."""
    folder = write_photos(tmp_path_factory.mktemp("in"), 5)
    (folder / "2.png").write_bytes(b"broken")
    write_video(folder / "a.mkv", 60, g=5)
    write_video(folder / "b.mp4", 6)
    return folder


def prepare(words, out, **changes):
    options = BatchOptions(**{"piece_frames": 14, "item_photos": 2, **changes})
    sink = Sink(out, "run")
    sink.make()
    return make_plan(find_inputs(words), sink, options), sink, options


def write(plan, sink, options):
    return Outputs(plan, sink, options, SquarePeople.meta).write()


def tables(contents):
    return {name: text for name, text in contents.items() if name.endswith((".jsonl", ".npz"))}


def local_tables(folder, out, **changes):
    plan, sink, options = prepare([str(folder)], out, **changes)
    do_items(plan, sink, options)
    write(plan, sink, options)
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return plan, tables(found)


def test_a_store_gives_the_bytes_of_a_local_folder(folder, store, tmp_path):
    local, expected = local_tables(folder, tmp_path / "out", track=True, smooth="offline")
    upload(folder, f"{store}/in")
    plan, sink, options = prepare([f"{store}/in/"], f"{store}/out/", track=True, smooth="offline")
    assert [item.weight for item in plan.items] == [item.weight for item in local.items]
    assert plan.videos[0].items[1].piece == local.videos[0].items[1].piece
    do_items(plan, sink, options)
    merged = write(plan, sink, options)
    assert merged.table == f"{store}/out/table.jsonl"
    assert (merged.photos, merged.bad_photos, merged.whole, merged.frames) == (4, 1, 2, 70)
    found = tables(objects(f"{store}/out"))
    for old, new in zip(local.items, plan.items, strict=True):  # keys and rows have the names of files
        expected[f"items/{new.key}.npz"] = expected.pop(f"items/{old.key}.npz")
    named = {
        name: text.replace(str(folder).encode(), f"{store}/in".encode()) for name, text in expected.items()
    }
    assert named["errors.jsonl"].count(b"\n") == 1
    assert f"cannot read photo {store}/in/2.png: " in named["errors.jsonl"].decode()
    assert found == named


def test_parquet_is_the_same(folder, store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is in the extra 'tests'")
    words = [str(folder)]
    plan, sink, options = prepare(words, store, format="parquet")
    do_items(plan, sink, options)
    write(plan, sink, options)
    names = {name for name in objects(store) if name.endswith(".parquet")}
    assert names == {"table.parquet", "photos.parquet", "videos/a.parquet", "videos/b.parquet"}
    (tmp_path / "table.parquet").write_bytes(read_object(f"{store}/table.parquet"))
    assert parquet.read_table(tmp_path / "table.parquet").num_rows > 500
    # What is made is not made again, and the table of all needs the others.
    before = objects(store)
    remove(f"{store}/table.parquet")
    put(f"{store}/videos/a.jsonl", b"of a run before")
    write(plan, sink, options)
    assert objects(store) == {**before, "videos/a.jsonl": b"of a run before"}


def test_what_is_done_is_done_again_only_if_the_object_changed(folder, store, tmp_path, monkeypatch):
    upload(folder, f"{store}/in")
    plan, sink, options = prepare([f"{store}/in"], f"{store}/out")
    do_items(plan, sink, options)
    monkeypatch.chdir(tmp_path)  # a machine's own folders do not count
    again, sink, _ = prepare([f"{store}/in"], f"{store}/out")
    assert again == plan
    seen = sink.seen()
    assert all(sink.record(item) == sink.record(item, seen) is not None for item in again.items)
    time.sleep(0.002)  # memory has no tags of content, only times
    before = (folder / "3.png").read_bytes()
    put(f"{store}/in/3.png", before[:-1] + b"?")  # of the same length
    put(f"{store}/in/b.mp4", write_video(folder.parent / f"{uuid.uuid4().hex}.mp4", 9).read_bytes())
    third, sink, _ = prepare([f"{store}/in"], f"{store}/out")
    missing = [item.files[-1] for item in third.items if sink.record(item) is None]
    assert missing == [f"{store}/in/3.png", f"{store}/in/b.mp4"]
    assert [item.key for item in third.items] == [item.key for item in plan.items]


def test_a_damaged_part_is_made_again(folder, store):
    plan, sink, options = prepare([str(folder)], store)
    do_items(plan, sink, options)
    item = plan.videos[0].items[1]
    content = bytearray(read_object(f"{store}/items/{item.key}.npz"))
    content[300] ^= 1
    put(f"{store}/items/{item.key}.npz", bytes(content))
    assert write(plan, sink, options).again
    assert [sink.record(each) is None for each in plan.items].count(True) == 1
    do_item(item, sink, options)
    assert write(plan, sink, options).table == f"{store}/table.jsonl"


def test_addresses_name_objects_as_paths_name_files(store, tmp_path, capsys):
    for name in ("b.png", "a.png", "notes.txt", "sub/c.png", "sub/deep/d.mp4", "odd [1].png"):
        put(f"{store}/{name}", name.encode())
    put(f"{store}/sub/", b"") if store.startswith("s3") else None  # what consoles make for a folder
    base = f"{store}/"
    found = find_inputs([store])
    assert found.photos == (f"{base}a.png", f"{base}b.png", f"{base}odd [1].png")
    assert set(found.states) >= set(found.photos)
    assert f"{store}: passed over 2 others: notes.txt, sub" in capsys.readouterr().err
    assert find_inputs([f"{base}**/*.png"]).photos[-1] == f"{base}sub/c.png"
    assert find_inputs([f"{base}sub/"]).photos == (f"{base}sub/c.png",)
    assert capsys.readouterr().err.splitlines()[-1] == f"{base}sub/: passed over 1 other: deep"
    assert find_inputs([f"{base}odd [1].png"]).photos == (f"{base}odd [1].png",)
    assert find_inputs([f"{base}*.png", f"{base}a.png"]).photos == found.photos
    put(f"{store}/list.txt", f"# of today\n{base}b.png\n{base}gone.mp4\n{base}sub/\n".encode())
    for words, lists in (([f"@{store}/list.txt"], ()), ([], [f"{store}/list.txt"])):
        listed = find_inputs(words, lists)
        assert listed.photos == (f"{base}b.png", f"{base}sub/c.png")
        assert listed.videos == (f"{base}gone.mp4",)
        assert listed.states[f"{base}gone.mp4"] == "missing"
    (tmp_path / "a.png").write_bytes(b"")
    assert find_inputs([str(tmp_path), f"{base}a.png"]).photos == (str(tmp_path / "a.png"), f"{base}a.png")


@pytest.mark.parametrize("name", ["nothing", "none/*.mp4", "none/", "gone.mp4"])
def test_objects_that_are_not_there_are_named(store, name):
    put(f"{store}/a.txt", b"x")
    with pytest.raises(FileNotFoundError, match="no such object or folder"):
        find_inputs([f"{store}/{name}"])
    with pytest.raises(FileNotFoundError, match="no photos or videos in"):
        find_inputs([store])


def test_what_is_no_store_is_an_error():
    assert not any(map(is_address, ["a.mp4", "rtsp://camera/1", "https://host/a.mp4", "C:/a.mp4", 0]))
    for address, message in [
        ("https://host/a.mp4", "is a URL: download it first"),
        ("nosuch://a/b.mp4", "nosuch:// is no store that fsspec knows"),
        ("ftp://me:hidden@host/a.mp4", "has credentials in it"),
        ("az://box/a.mp4?sv=1&sig=hidden", "has credentials in it"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            find_inputs([address])
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "address", "advice"),
    [
        ("fsspec", "s3://bucket/a.mp4", 'pip install "ehrpose[cloud]"'),
        ("s3fs", "s3://bucket/b.mp4", 'pip install "fsspec[s3]"'),
        ("gcsfs", "gs://bucket/a.mp4", 'pip install "fsspec[gs]"'),
        ("adlfs", "az://bucket/a.mp4", 'pip install "fsspec[abfs]"'),
    ],
)
def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch, module, address, advice):
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(known, address.split(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match="pip install") as caught:
        find_inputs([address])
    assert advice in str(caught.value)


def test_one_copy_for_the_pieces_of_a_video(folder, store, monkeypatch):
    upload(folder, f"{store}/in")
    plan, _, options = prepare([f"{store}/in/a.mkv"], f"{store}/out")
    assert len(plan.items) >= 4
    system = system_of(store)[0]
    fetched, ordinary = [], system.get_file
    monkeypatch.setattr(system, "get_file", lambda name, *rest: fetched.append(name) or ordinary(name, *rest))
    copies = VideoCopies()
    for item in plan.items:
        process_item(item, SquarePeople(), options.batch_size, options.bbox_thr, copies=copies)
    assert len(fetched) == 1
    with copies.local(plan.items[0].files[0], plan.items[0].state) as path:
        assert Path(path).read_bytes() == (folder / "a.mkv").read_bytes()
    with copies.local(f"{store}/in/b.mp4") as other:
        assert not Path(path).exists(), "one at a time"
    copies.close()
    assert not Path(other).parent.exists()


def test_errors_name_the_object_and_not_the_copy(folder, store):
    put(f"{store}/broken.mp4", b"\0 no video")
    plan, _, _ = prepare([f"{store}/broken.mp4"], f"{store}/out")
    with pytest.raises(ValueError, match=f"{store}/broken.mp4 is not a readable video"):
        process_item(plan.items[0], SquarePeople())


def test_an_object_that_goes_away_is_the_error_of_its_file(folder, store):
    upload(folder, f"{store}/in")
    plan, _, _ = prepare([f"{store}/in"], f"{store}/out")
    remove(f"{store}/in/1.png")
    remove(f"{store}/in/b.mp4")
    found = process_item(plan.photos[0], SquarePeople())
    reason = f"cannot read photo {store}/in/1.png: {store}/in/1.png: no such object or folder"
    assert found.errors == [(1, reason)]
    with pytest.raises(FileNotFoundError, match=r"b\.mp4: no such object or folder"):
        process_item(plan.videos[1].items[0], SquarePeople())


def test_one_process_has_a_claim(store, monkeypatch):
    files = open_folder(store)
    name, path = "items/a.lock", f"{store}/items/a.lock"
    with files.claim(name) as is_mine, pickle.loads(pickle.dumps(files)).claim(name) as is_other:
        assert (is_mine, is_other) == (True, False)
        files.tidy("items")
        assert json.loads(read_object(path))["owner"] == own_name()
    assert objects(store) == {}

    def is_free(owner, age):
        put(path, json.dumps({"owner": owner, "time": int(time.time() - age)}).encode())
        with files.claim(name) as is_mine:
            return is_mine

    machine, process, start = own_name().split("-")
    assert is_free(f"{machine}-4194305-{start}", 0), "its process has ended"
    assert is_free(f"{machine}-{process}-1", 0), "another process had its number"
    assert not is_free(own_name(), 10 * CLAIM_ENDS), "it lives"
    assert not is_free(f"01234567-{process}-{start}", CLAIM_ENDS - 60)
    assert is_free(f"01234567-{process}-{start}", CLAIM_ENDS + 60), "nobody has renewed it"
    put(path, b"{")
    with files.claim(name) as is_mine:
        assert is_mine
    put(path, json.dumps({"owner": f"{machine}-4194305-{start}", "time": 0}).encode())
    files.tidy("items")
    assert objects(store) == {}


@pytest.mark.parametrize("code", ["PreconditionFailed", "412", "ConditionalRequestConflict"])
def test_a_claim_may_be_refused_in_other_words(monkeypatch, code):
    """As by stores of which fsspec makes another error, and by S3 while the same object is being written."""
    files = open_folder(f"memory://bucket/{uuid.uuid4().hex}")
    answer = ValueError("no")
    answer.response = {"Error": {"Code": code}}

    def refuse(path, content, mode="overwrite"):
        assert mode == "create"
        raise OSError(22, "At least one of the conditions did not hold") from answer

    monkeypatch.setattr(files._system, "pipe_file", refuse)
    assert not files.create("run.json", b"")
    answer.response = {"Error": {"Code": "SlowDown"}}
    with pytest.raises(StorageError, match=r"run\.json: .*did not hold"):
        files.create("run.json", b"")


def test_a_claim_is_renewed_while_its_process_works(store, monkeypatch):
    monkeypatch.setattr("ehrpose.batch.folders.CLAIM_RENEWED", 0.01)
    files = open_folder(store)
    with files.claim("a.lock"):
        first = read_object(f"{store}/a.lock")
        end = time.monotonic() + 60
        while read_object(f"{store}/a.lock") == first:
            assert time.monotonic() < end
    assert objects(store) == {}, "and not after that"


def test_a_folder_is_of_one_model(store):
    files, options = open_folder(store), BatchOptions()
    digests = {
        claim_folder(files, ModelFacts({"name": name, "sha256": "0"}, SquarePeople.meta), options)
        for name in ("a", "a")
    }
    assert len(digests) == 1
    assert read_run(files)["model"]["name"] == "a"
    with pytest.raises(ValueError, match=f"{store} has results of another model, name a"):
        claim_folder(files, ModelFacts({"name": "b", "sha256": "0"}, SquarePeople.meta), options)


def test_wrong_buckets_and_credentials_are_told_without_secrets(s3, monkeypatch, tmp_path):
    for find in (lambda: find_inputs(["s3://nobucket/in/"]), lambda: Sink("s3://nobucket/run").make()):
        with pytest.raises(FileNotFoundError, match=r"s3://nobucket/.*: there is no such bucket"):
            find()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    system_of("s3://bucket")[0].clear_instance_cache()
    with pytest.raises(PermissionError, match="s3://bucket/in/: no credentials: "):
        find_inputs(["s3://bucket/in/"])
    system_of("s3://bucket")[0].clear_instance_cache()


def test_a_store_that_fails_ends_in_an_error_without_secrets(monkeypatch):
    import fsspec

    system = fsspec.filesystem("memory")
    monkeypatch.setenv("SOME_TOKEN", SECRET)

    def fail(*_, **__):
        raise RuntimeError(f"https://me:hidden@host does not answer to {SECRET}")

    monkeypatch.setattr(type(system), "info", fail)
    with pytest.raises(StorageError, match="memory://bucket/in: https://") as caught:
        find_inputs(["memory://bucket/in"])
    assert SECRET not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_nothing_stays_in_the_temporary_folder(folder, store, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    upload(folder, f"{store}/in")
    with temporary_folder():
        assert list(tmp_path.iterdir()), "it is the place for such folders"
    plan, sink, options = prepare([f"{store}/in"], f"{store}/out")
    do_items(plan, sink, options)
    write(plan, sink, options)
    assert list(tmp_path.iterdir()) == []
