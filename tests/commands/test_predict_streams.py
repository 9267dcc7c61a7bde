"""The command ``predict`` with streams, as users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

pytest.importorskip("av", reason="PyAV is in the extra 'video'")

from stream_reading import DEADLINE, stream_threads, wait_for
from stream_server import StreamServer, clip

from ehrpose.__main__ import main
from ehrpose.media import VideoReader

SECRET = "s3cr3t-pass"


@pytest.fixture
def model(demo_config, lively_checkpoint, small_options):
    changes = [f"{key}={value}" for key, value in small_options.items()]
    return ["--model", str(demo_config), "--weights", str(lively_checkpoint), "--device", "cpu",
            "--cfg-options", *changes]  # fmt: skip


@pytest.fixture
def server():
    with StreamServer() as server:
        yield server
    wait_for(lambda: not stream_threads(), "threads of streams go on")


def run(words, model, capsys, code=0):
    """Run the command; return what it printed, (stdout, stderr)."""
    words = ["predict", *map(str, words), *model]
    if code:
        with pytest.raises(SystemExit) as exit_:
            main(words)
        assert exit_.value.code == code
    else:
        main(words)
    return capsys.readouterr()


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_lines_on_stdout_as_they_come(server, model, capsys):
    server.clip = clip(0.4, (128, 128), kind="mp4", codec="mpeg4")
    words = [
        f"door={server.url('/mjpeg')}",
        f"film={server.url('/clip.mp4')}",
        "--out",
        "-",
        "--stats",
        "--track",
    ]
    told = run([*words, "--max-frames", 10, "--format", "jsonl"], model, capsys)
    rows = rows_of(told.out)
    assert sorted(row["source"] for row in rows) == ["door"] * 10 + ["film"] * 10
    assert all(row["latency_ms"] > 0 for row in rows)
    assert "film: connecting (http://127.0.0.1" in told.err
    assert "film: ended" in told.err
    assert "door: live" in told.err
    assert "door: 10 frames" in told.err
    assert "latency" in told.err


def test_lines_are_added_to_a_file(server, model, tmp_path, capsys):
    out = tmp_path / "new" / "people.jsonl"
    for _ in range(2):
        told = run([server.url("/mjpeg"), "--out", out, "--max-frames", 3], model, capsys)
        assert "127.0.0.1: 3 frames" in told.out
    assert [row["source"] for row in rows_of(out.read_text())] == ["127.0.0.1"] * 6


def test_a_text_file_of_sources_and_files_for_each(server, model, tmp_path, capsys):
    sources, out = tmp_path / "sources.txt", tmp_path / "out"
    sources.write_text(f"# cameras\ndoor={server.url('/mjpeg')}\nyard={server.url('/stream.ts')}\n")
    words = ["--sources", sources, "--out-dir", out, "--format", "csv", "--max-frames", 4]
    run(words, model, capsys)
    assert sorted(path.name for path in out.iterdir()) == ["door.csv", "door.mp4", "yard.csv", "yard.mp4"]
    with VideoReader(out / "door.mp4") as video:
        assert len(list(video)) >= 1
    run([f"@{sources}", "--out", tmp_path / "all.jsonl", "--max-frames", 2], model, capsys)
    assert {row["source"] for row in rows_of((tmp_path / "all.jsonl").read_text())} == {"door", "yard"}


def test_a_source_that_fails_is_named_and_the_code_is_1(server, model, capsys):
    server.credentials = ("admin", SECRET)
    words = [
        f"bad={server.url('/mjpeg', f'admin:wrong-{SECRET}@')}",
        f"good={server.url('/mjpeg', f'admin:{SECRET}@')}",
    ]
    told = run([*words, "--out", "-", "--max-frames", 2], model, capsys, code=1)
    assert "bad: failed (Server returned 401" in told.err
    assert "1 source of 2 failed: bad" in told.err
    assert [row["source"] for row in rows_of(told.out)] == ["good"] * 2
    assert SECRET not in told.out + told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gopher://a/b"], "gopher:// is not supported: expected rtsp://"),
        (["http://a/b", "photo.jpg"], "no such video: photo.jpg"),
        (["http://a/b", "--no-window"], "--out - for lines of JSON"),
        (["http://a/b", "--out", "-", "--format", "csv"], "--out writes jsonl, got 'csv'"),
        (["http://a/b", "--out", "-", "--skip", "3"], "--skip is for photos and videos"),
        (["http://a/b", "--out", "-", "--smooth", "offline"], "--smooth offline is for recorded videos"),
        (["http://a/b", "--out", "-", "--timeout", "0"], "expected --timeout as a number greater than 0"),
        (["http://a/b", "--out", "-", "--retries", "-1"], "--retries as a whole number of at least 0"),
        (
            ["http://a/b", "http://c/d", "--out-file", "a.mp4"],
            "--out-file is one video, but there are 2 sources",
        ),
        (["--sources", "nothing.txt"], "nothing.txt"),
        ([], "expected an input"),
        (["nothing.jpg", "--out", "-"], "--out is for streams"),
    ],
)
def test_mistakes_are_one_line(model, capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    told = run(words, model, capsys, code=2)
    assert message in told.err
    assert told.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def command(words, model, root, debug="0"):
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "EHRPOSE_DEBUG": debug}
    return subprocess.Popen(
        [sys.executable, "-m", "ehrpose", "predict", *map(str, words), *model],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(server, model, tmp_path, root, number):
    server.credentials = ("admin", SECRET)
    words = [
        server.url(f"/mjpeg?token={SECRET}", f"admin:{SECRET}@"),
        "--out",
        "-",
        "--out-file",
        tmp_path / "a.mp4",
    ]
    process = command(words, model, root, debug="1")
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(DEADLINE) == 128 + number
    finally:
        process.kill()
        process.wait()
        reader.join(DEADLINE)
    assert len(rows_of("".join(lines) + rest)) >= 3, "all lines are whole"
    with VideoReader(tmp_path / "a.mp4") as video:
        assert len(list(video)) >= 1
    assert "Traceback" not in errors[0]
    assert "127.0.0.1: " in errors[0]
    assert "connecting (http://***@127.0.0.1" in errors[0]
    assert SECRET not in errors[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_a_broken_pipe_ends_it_quietly(server, model, root):
    process = command([server.url("/mjpeg"), "--out", "-"], model, root)
    try:
        assert json.loads(process.stdout.readline())["source"] == "127.0.0.1"
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(DEADLINE) == 141
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in errors
    assert "rror" not in errors


def test_a_stream_that_comes_back_goes_on(server, model, root):
    server.kill()
    process = command([server.url("/mjpeg"), "--out", "-", "--max-frames", 2], model, root)
    try:
        told = ""
        while "reconnecting (Connection refused; next attempt in" not in told:
            told = process.stderr.readline()
            assert told, "it has ended"
        server.start()
        assert [row["source"] for row in rows_of(process.stdout.read())] == ["127.0.0.1"] * 2
        assert "127.0.0.1: live" in process.stderr.read()
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
