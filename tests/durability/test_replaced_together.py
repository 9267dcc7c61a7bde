"""A kill while an old export is replaced leaves the old network or the new one, both ready to run."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from faults import ERRORS, Faults, Killed

from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, Sidecar, file_hash, read_sidecar
from ehrpose.file_sets import finish, written_together
from ehrpose.files import WriteError

NETWORK = Path(__file__).parents[1] / "data" / "tiny_network.onnx"
DEPLOYED = {
    "onnx": ["end2end.onnx"],
    "openvino": ["end2end.xml", "end2end.bin"],
    "engine": ["end2end.engine"],
}


def write_set(folder, names, content, title=None):
    """Write a network that consists of files with this content."""
    with written_together(folder / names[0]) as new:
        for name in names:
            (new / name).write_bytes(content)
        sidecar = Sidecar(**{**vars(read_sidecar(NETWORK)), "name": title or content.decode()})
        sidecar.sha256 = {name: file_hash(new / name) for name in names}
        sidecar.write(new / names[0])


def quiet_set(folder, names):
    """Write the old network, without waiting for the disk."""
    with Faults(folder):
        write_set(folder, names, b"old")


def number_of_calls(folder, names):
    with Faults(folder) as faults:
        write_set(folder, names, b"first")
    return len(faults.calls)


def committed(folder, names):
    """Return the number of the call that lets the new network count."""
    with Faults(folder) as faults:
        write_set(folder, names, b"old")
    return next(i for i, (_, file) in enumerate(faults.calls, 1) if file.endswith(f".{names[0]}.new"))


def state(folder, names):
    """Return which network is in a folder; an error if its files do not belong together."""
    found = read_sidecar(folder / names[0])
    assert {(folder / name).read_bytes() for name in names} == {found.name.encode()}
    return found.name


@pytest.mark.parametrize("names", DEPLOYED.values(), ids=DEPLOYED)
@pytest.mark.parametrize("next_one", ["reader", "writer"])
def test_a_kill_at_any_call_leaves_a_whole_network(tmp_path, names, next_one):
    (tmp_path / "count").mkdir()
    left = []
    for at in range(1, 1 + number_of_calls(tmp_path / "count", names)):
        folder = tmp_path / str(at)
        folder.mkdir()
        quiet_set(folder, names)
        with pytest.raises(Killed), Faults(folder, at):
            write_set(folder, names, b"new")
        if next_one == "reader":
            left.append(state(folder, names))
        else:
            write_set(folder, names, b"newer")
            assert state(folder, names) == "newer"
        # Folders of killed processes are removed by a later process; this one lives.
        hidden = [name for name in os.listdir(folder) if ".partial" not in name]
        assert sorted(hidden) == sorted([*names, f"{names[0]}.json"])
    if next_one == "reader":
        assert set(left) == {"old", "new"}
        assert left == sorted(left, reverse=True)  # once the new one counts, it stays


@pytest.mark.parametrize("at_most", [1, 2, 3])
def test_a_kill_of_the_one_who_finishes_is_finished_too(tmp_path, at_most):
    names = DEPLOYED["openvino"]
    write_set(tmp_path, names, b"old")
    with pytest.raises(Killed), Faults(tmp_path, committed(tmp_path, names) + 2):
        write_set(tmp_path, names, b"new")
    for at in range(1, at_most + 1):
        with pytest.raises(Killed), Faults(tmp_path, at):
            finish(tmp_path / names[0])
    assert state(tmp_path, names) == "new"


def test_a_killed_export_runs_afterwards(tmp_path):
    pytest.importorskip("onnxruntime")
    image = np.zeros((32, 32, 3), np.uint8)
    for at in (committed(tmp_path, DEPLOYED["onnx"]) + more for more in (0, 2)):
        folder = tmp_path / str(at)
        folder.mkdir()
        path = folder / "end2end.onnx"
        write_set(folder, [path.name], NETWORK.read_bytes(), "first")
        with pytest.raises(Killed), Faults(folder, at):
            write_set(folder, [path.name], NETWORK.read_bytes(), "again")
        with PoseRuntime(path, "onnxruntime", num_threads=1) as runtime:
            assert runtime.run(runtime.prepare(image)[0][None]) is not None


@pytest.mark.parametrize("error", ERRORS)
def test_a_disk_that_fails_leaves_a_whole_network(tmp_path, error):
    names = DEPLOYED["openvino"]
    (tmp_path / "count").mkdir()
    for at in range(1, 1 + number_of_calls(tmp_path / "count", names)):
        folder = tmp_path / str(at)
        folder.mkdir()
        quiet_set(folder, names)
        with Faults(folder, at, error):
            try:
                write_set(folder, names, b"new")
                told = None
            except WriteError as failed:
                told = str(failed)
        assert told is None or ("could not be written" in told and ".partial" not in told)
        assert state(folder, names) in (("new",) if told is None else ("old", "new"))


def test_a_first_export_that_fails_leaves_nothing(tmp_path):
    names = DEPLOYED["openvino"]
    (tmp_path / "count").mkdir()
    for at in range(1, 1 + number_of_calls(tmp_path / "count", names)):
        folder = tmp_path / str(at)
        folder.mkdir()
        try:
            with Faults(folder, at, "EIO"):
                write_set(folder, names, b"new")
        except WriteError:
            assert os.listdir(folder) == []
        else:  # the names could not be flushed, which is no error
            assert state(folder, names) == "new"


def test_an_interrupted_export_that_cannot_be_finished_says_what_to_do(tmp_path):
    names = DEPLOYED["onnx"]
    write_set(tmp_path, names, b"old")
    with pytest.raises(Killed), Faults(tmp_path, number_of_calls(tmp_path, names)):
        write_set(tmp_path, names, b"new")
    (tmp_path / ".end2end.onnx.new").mkdir(exist_ok=True)
    (tmp_path / ".end2end.onnx.new" / "end2end.onnx").write_bytes(b"new")
    with (
        Faults(tmp_path, 1, "EROFS"),
        pytest.raises(DeployError, match=r"was interrupted.*open it once as a user"),
    ):
        read_sidecar(tmp_path / "end2end.onnx")


def test_files_of_other_names_are_not_moved(tmp_path):
    (tmp_path / ".end2end.onnx.new").mkdir()
    (tmp_path / ".end2end.onnx.new" / "other.txt").write_text("x")
    finish(tmp_path / "end2end.onnx")
    assert os.listdir(tmp_path) == [".end2end.onnx.new"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.onnx").write_text("x")
    (tmp_path / ".a.onnx.new").symlink_to(tmp_path / "elsewhere")
    finish(tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_writers_of_one_network_at_once_leave_one_of_theirs(tmp_path):
    names = DEPLOYED["openvino"]
    failed = []

    def write(number):
        try:
            write_set(tmp_path, names, str(number).encode())
        except WriteError as error:  # all attempts met the others'; the network is whole nevertheless
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) < 4
    assert sorted(os.listdir(tmp_path)) == ["end2end.bin", "end2end.xml", "end2end.xml.json"]
