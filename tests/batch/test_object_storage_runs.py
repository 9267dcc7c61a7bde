"""Runs of ``ehrpose batch`` as processes, on a store that speaks S3."""

from __future__ import annotations

import json
import os
import signal
import uuid

import pytest
from processes import contents, done_now, finish, kill, run, start, wait_for, workers_of
from squares import write_video
from stores import SECRET, names, objects, put, remove, s3_server, system_of, upload

pytestmark = pytest.mark.slow
NUM_ITEMS = 16


@pytest.fixture(scope="module", autouse=True)
def s3(tmp_path_factory):
    pytest.importorskip("moto.server", reason="moto and s3fs are installed by make test-cloud")
    pytest.importorskip("s3fs", reason="moto and s3fs are installed by make test-cloud")
    with s3_server(tmp_path_factory.mktemp("home")):
        system_of("s3://bucket")[0].mkdir("bucket")
        yield


@pytest.fixture(scope="module")
def words(small_network):
    """Options of all runs."""
    return [*small_network, "--track", "--item-photos", "2", "--piece-frames", "9"]


@pytest.fixture(scope="module")
def inputs(scenes_folder):
    upload(scenes_folder, "s3://bucket/in")
    return "s3://bucket/in/"


@pytest.fixture(scope="module")
def tables(scenes_folder, inputs, words, tmp_path_factory):
    """The tables that a local run writes, with the names of the objects."""
    out = tmp_path_factory.mktemp("whole") / "out"
    code, told, err = run([scenes_folder, *words, "--workers", "1", "--out", out])
    assert (code, done_now(told)) == (1, NUM_ITEMS), err
    return {
        name: text.replace(f"{scenes_folder}/".encode(), inputs.encode())
        for name, text in contents(out).items()
        if name.endswith(".jsonl")
    }


@pytest.fixture
def out():
    return f"s3://bucket/{uuid.uuid4().hex}"


def written(out):
    return objects(out, ".jsonl")


def records(out):
    """Return the records that are in a store, by their names."""
    found = objects(f"{out}/items", ".json")
    return {name: json.loads(text) for name, text in found.items() if name.count(".") == 1}


def num_records(out):
    return sum(name.count(".") == 1 for name in names(f"{out}/items", ".json"))


def locks(out):
    return names(out, ".lock")


def goes_on(inputs, words, out, tables):
    """Run again; return how many items it did, after the tables were compared."""
    code, told, err = run([inputs, *words, "--workers", "2", "--out", out])
    assert code == 1, err
    assert "Traceback" not in err
    assert written(out) == tables
    assert locks(out) == []
    return done_now(told)


def test_a_store_gives_the_tables_of_a_local_run(inputs, words, out, tables, tmp_path):
    code, told, err = run([inputs, *words, "--workers", "2", "--out", f"{out}/"])
    assert (code, done_now(told)) == (1, NUM_ITEMS), err
    assert f"-> {out}/table.jsonl" in told
    assert "1 failed, 0 incomplete, 1 image not read" in err
    assert written(out) == tables
    assert goes_on(inputs, words, out, tables) == 0
    for text in (told, err, *(content.decode("latin-1") for content in objects(out).values())):
        assert SECRET not in text
        assert "AKIA" not in text
    code, told, err = run(["s3://bucket/in/[!2]*", *words, "--out", tmp_path / "local"])
    assert code == 1, err
    assert (tmp_path / "local/videos/b.jsonl").read_bytes() == tables["videos/b.jsonl"]


def test_killed_twice_it_goes_on(inputs, words, out, tables):
    for count in (1, 5):
        process = start([inputs, *words, "--workers", "2", "--out", out])
        wait_for(lambda count=count: num_records(out) >= count, process)
        os.killpg(process.pid, signal.SIGKILL)
        finish(process)
    before = records(out)
    assert 5 <= len(before) < NUM_ITEMS
    assert goes_on(inputs, words, out, tables) == NUM_ITEMS - len(before)
    after = records(out)
    assert {name: after[name] for name in before} == before, "what was whole is not done again"


def test_a_killed_worker_is_replaced(inputs, words, out, tables):
    process = start([inputs, *words, "--workers", "2", "--out", out])
    wait_for(lambda: num_records(out) >= 2, process)
    kill(workers_of(process)[0])
    code, _, err = finish(process)
    assert code == 1, err
    assert written(out) == tables
    assert locks(out) == []


def test_ctrl_c_leaves_no_claims_and_no_files(inputs, words, out, tables, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = start([inputs, *words, "--workers", "2", "--out", out])
    wait_for(lambda: num_records(out) >= 3, process)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "Traceback" not in err
    assert f"of {NUM_ITEMS} items done; run the same command to go on" in err
    assert locks(out) == []
    assert list(tmp_path.glob(".*partial*")) == []
    goes_on(inputs, words, out, tables)
    assert list(tmp_path.glob(".*partial*")) == []


def test_workers_of_ray_write_to_a_store(inputs, words, out, tables):
    pytest.importorskip("ray", reason="ray is in the extra 'ray'")
    code, told, err = run([inputs, *words, "--engine", "ray", "--workers", "2", "--out", out])
    assert (code, done_now(told)) == (1, NUM_ITEMS), err
    assert written(out) == tables
    assert locks(out) == []


def test_two_runs_at_once_share_the_items(inputs, words, out, tables):
    pair = [start([inputs, *words, "--workers", "1", "--out", out]) for _ in range(2)]
    ended = [finish(process) for process in pair]
    assert [code for code, _, _ in ended] == [1, 1], ended
    assert sum(done_now(told) for _, told, _ in ended) == NUM_ITEMS
    assert written(out) == tables


def test_a_changed_object_is_done_again_and_one_that_goes_away_is_listed(words, out, tmp_path):
    for number in range(8):
        path = write_video(tmp_path / f"{number}.mp4", 12 + number, g=6)
        put(f"{out}-in/{number}.mp4", path.read_bytes())
    words = [f"{out}-in", *words, "--out", f"{out}/deep/er"]
    process = start([*words, "--workers", "1"])
    wait_for(lambda: num_records(f"{out}/deep/er"), process)
    remove(f"{out}-in/7.mp4")
    code, told, err = finish(process)
    assert code == 1, err
    assert told.startswith("7 videos: ")
    assert f"{out}-in/7.mp4: no such object or folder" in err
    assert "1 failed, 0 incomplete" in err
    (row,) = map(json.loads, objects(f"{out}/deep/er")["errors.jsonl"].splitlines())
    assert row["file"] == f"{out}-in/7.mp4"
    put(f"{out}-in/7.mp4", (tmp_path / "5.mp4").read_bytes())
    put(f"{out}-in/3.mp4", (tmp_path / "4.mp4").read_bytes())
    code, told, err = run(words)
    assert code == 0, err
    assert told.startswith("8 videos: ")
    again = [record["files"] for record in records(f"{out}/deep/er").values()]
    assert done_now(told) == sum(files[0].endswith(("3.mp4", "7.mp4")) for files in again)


@pytest.mark.parametrize(
    ("changes", "words", "code", "message"),
    [
        ({}, ["s3://nobucket/in/", "--out", "s3://bucket/x"], 2, "s3://nobucket/in/: there is no such bucket"),
        ({}, ["IN", "--out", "s3://nobucket/x"], 2, "s3://nobucket/x/run.json: there is no such bucket"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, ["IN", "--out", "x"], 2,
         "no credentials: Unable to locate credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}, ["IN", "--out", "x"], 1,
         "s3://bucket/in/: Could not connect"),
        ({}, [f"s3://me:{SECRET}@bucket/in", "--out", "x"], 2, "has credentials in it"),
        ({}, ["IN", "--out", f"s3://me:{SECRET}@bucket/in"], 2, "has credentials in it"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(inputs, monkeypatch, tmp_path, changes, words, code, message):
    monkeypatch.chdir(tmp_path)
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    found, _, err = run([inputs if word == "IN" else word for word in words])
    assert found == code, err
    assert message in err
    assert len(err.splitlines()) == 1, err
    assert SECRET not in err
