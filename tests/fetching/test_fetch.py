"""Published weights by name: fetched once, checked before they are opened, converted and kept."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ehrpose.fetching import cache
from ehrpose.fetching.fetch import OfflineError, fetch, is_offline, remove, verify
from ehrpose.model_zoo import find_model
from ehrpose.models.loading import init_model
from ehrpose.models.weights.arrival import local_weights
from ehrpose.models.weights.checkpoint import read_state_dict
from ehrpose.transfer import DownloadError, NoConnectionError

ROOT = Path(__file__).resolve().parents[2]
PATH = "/lite/theirs.pth"
KEPT = ["converted.pth", "record.json", "theirs.pth"]
OURS, THEIRS = "backbone.stages.0.0.expand.0.weight", "stage.0.0.inv.0.weight"


def digits(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def serve(zoo, server, content: bytes) -> None:
    """Serve other content under the address of the entry, which has its hash."""
    server.files[PATH] = content
    zoo.write(Remote={"SHA256 Prefix": digits(content)})


def test_a_name_is_all_that_it_takes(zoo, server, capsys):
    import rival_data

    model = init_model("xs", cfg_options={"codec.input_size": 64})
    drawn = rival_data.draw_weights("litepose_XS")
    assert torch.equal(model.state_dict()[OURS], torch.from_numpy(drawn[THEIRS]))
    told = capsys.readouterr().err
    assert f"xs: fetching size unknown into {zoo.folder}, licence of the weights: MIT" in told
    assert zoo.kept() == KEPT
    record = json.loads((zoo.folder / "record.json").read_text())
    assert record["used"] == ["converted.pth"]
    assert set(record["sha256"]) == {"converted.pth", "theirs.pth"}
    assert server.ranges(PATH) == [None]
    assert capsys.readouterr().err == ""


def test_the_second_use_needs_neither_network_nor_the_fetched_file(zoo, server, monkeypatch, capsys):
    path = local_weights(find_model("xs"))
    monkeypatch.setenv("EHRPOSE_OFFLINE", "1")
    capsys.readouterr()
    assert local_weights(find_model("litepose-xs_coco-256")) == path
    (zoo.folder / "theirs.pth").unlink()
    assert local_weights(find_model("xs")) == path
    assert OURS in read_state_dict("xs")
    assert len(server.requests) == 1
    assert capsys.readouterr().err == ""


def test_a_damaged_conversion_is_made_again(zoo, server, monkeypatch):
    path = local_weights(find_model("xs"))
    whole = path.read_bytes()
    monkeypatch.setenv("EHRPOSE_OFFLINE", "1")
    for content in (whole[:-1], whole[:5000] + b"xx" + whole[5002:], b""):
        path.write_bytes(content)
        assert local_weights(find_model("xs")).read_bytes() == whole
    path.unlink()
    (zoo.folder / "record.json").write_text("[]")
    assert local_weights(find_model("xs")).read_bytes() == whole
    monkeypatch.setattr("ehrpose.fetching.fetch.CONVERTER", 2)
    os.utime(path, (0, 0))
    local_weights(find_model("xs"))
    assert path.stat().st_mtime > 0
    assert len(server.requests) == 1


def test_an_entry_with_another_hash_is_fetched_again(zoo, server, theirs):
    local_weights(find_model("xs"))
    torch.save(torch.load(zoo.folder / "theirs.pth", weights_only=True)["state_dict"], zoo.root / "other.pth")
    other = (zoo.root / "other.pth").read_bytes()
    serve(zoo, server, other)
    with pytest.raises(DownloadError, match=r"theirs\.pth exists, but has SHA-256"):
        local_weights(find_model("xs"))
    assert remove(find_model("xs"))
    assert local_weights(find_model("xs")).is_file()
    assert (zoo.folder / "theirs.pth").read_bytes() == other


def test_a_record_that_names_other_folders_is_not_believed(zoo, tmp_path):
    local_weights(find_model("xs"))
    record = json.loads((zoo.folder / "record.json").read_text())
    evil = tmp_path / "evil.pth"
    evil.write_bytes(b"x")
    record["used"] = ["../../evil.pth"]
    record["sha256"]["../../evil.pth"] = hashlib.sha256(b"x").hexdigest()
    (zoo.folder / "record.json").write_text(json.dumps(record))
    assert cache.read_record(zoo.folder) is None
    assert local_weights(find_model("xs")).name == "converted.pth"


def test_another_hash_leaves_nothing_and_nothing_is_opened(zoo, server, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("opened"))
    server.files[PATH] += b"x"
    with pytest.raises(
        DownloadError, match=r"theirs\.pth\.part as downloaded has SHA-256 \w+, expected \w{8}: "
    ):
        init_model("xs")
    assert zoo.kept() == []


def test_what_is_not_on_the_server_is_one_error(zoo, server):
    zoo.write(Weights=f"{server.url}/gone.pth")
    with pytest.raises(DownloadError, match=r"gone\.pth: the server answered 404"):
        init_model("xs")
    assert zoo.kept() == []
    assert len(server.requests) == 1


def test_a_cut_transfer_goes_on_where_it_stopped(zoo, server, theirs):
    server.tags[PATH] = '"v1"'
    server.faults = [1_000_000, 0, 0, 0]
    with pytest.raises(
        NoConnectionError, match=r"MB are kept in .*theirs\.pth\.part.*by hand: get theirs\.pth from"
    ):
        init_model("xs")
    assert zoo.kept() == ["theirs.pth.part", "theirs.pth.part.version"]
    assert cache.kept_bytes(find_model("xs")) > 1_000_000
    assert local_weights(find_model("xs")).is_file()
    assert server.requests[-1] == (PATH, "bytes=1000000-", '"v1"')
    assert (zoo.folder / "theirs.pth").read_bytes() == theirs
    assert zoo.kept() == KEPT


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_offline_the_message_says_all_that_is_needed_by_hand(zoo, server, theirs, monkeypatch, value):
    monkeypatch.setenv("EHRPOSE_OFFLINE", value)
    with pytest.raises(OfflineError) as caught:
        init_model("xs")
    assert server.requests == []
    for part in ("theirs.pth", f"{server.url}{PATH}", f"SHA-256 {digits(theirs)}...", str(zoo.folder)):
        assert part in str(caught.value)
    zoo.folder.mkdir(parents=True)
    (zoo.folder / "theirs.pth").write_bytes(theirs + b"x")
    with pytest.raises(
        DownloadError, match=r"theirs\.pth exists, but has SHA-256 .*: remove it and try again"
    ):
        init_model("xs")
    (zoo.folder / "theirs.pth").write_bytes(theirs)
    assert local_weights(find_model("xs")).is_file()
    assert server.requests == []


def test_offline_is_off_by_default(monkeypatch):
    for value in ("", "0", "false", "No"):
        monkeypatch.setenv("EHRPOSE_OFFLINE", value)
        assert not is_offline()


def test_without_a_network_the_message_is_the_same(zoo, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(
        NoConnectionError, match=r"refused.*by hand: get theirs\.pth from http.*SHA-256 \w{8}\.\.\."
    ):
        init_model("xs")
    assert zoo.kept() == []


def test_a_file_with_code_in_it_is_refused_also_with_the_right_hash(zoo, server, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"state_dict": {"a": Evil()}}, tmp_path / "evil.pth")
    serve(zoo, server, (tmp_path / "evil.pth").read_bytes())
    with pytest.raises(ValueError, match="is refused: it refers to"):
        init_model("xs")
    assert not (tmp_path / "ran").exists()
    assert zoo.kept() == ["theirs.pth"]


def test_weights_of_another_network_are_named(zoo, server, tmp_path):
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "other.pth")
    serve(zoo, server, (tmp_path / "other.pth").read_bytes())
    with pytest.raises(ValueError, match=r"theirs\.pth, fetched for the model 'xs': unknown layout"):
        init_model("xs")
    assert zoo.kept() == ["theirs.pth"]


def test_the_cache_is_where_the_variable_or_the_system_says(zoo, monkeypatch, tmp_path):
    assert cache.home() == zoo.home
    monkeypatch.setenv("EHRPOSE_HOME", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.home() == tmp_path / "mine"
    monkeypatch.delenv("EHRPOSE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform.startswith("linux"):
        assert cache.home() == tmp_path / "xdg/ehrpose"


def test_a_cache_that_cannot_be_written_to_is_named(zoo, monkeypatch):
    monkeypatch.setattr(cache.os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"set EHRPOSE_HOME to another folder.*home/models"):
        init_model("xs")


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".hidden"])
def test_a_models_name_cannot_leave_the_cache(zoo, server, name):
    zoo.write(Name=name)
    with pytest.raises(ValueError, match="the name cannot be that of a folder"):
        local_weights(find_model("xs"))
    with pytest.raises(ValueError, match="the name cannot be that of a folder"):
        remove(find_model("xs"))
    assert server.requests == []


def test_a_file_without_a_published_hash_is_got_by_hand(zoo, server):
    zoo.write(Remote=None, Weights=None, **{"By Hand": "https://drive.example/abc"})
    with pytest.raises(ValueError, match=r"yourself.*https://drive\.example/abc.*convert_checkpoint\.py"):
        init_model("xs")
    assert server.requests == []


def test_verify_and_remove(zoo):
    model = find_model("xs")
    assert len(verify(model)) == 1
    local_weights(model)
    assert verify(model) == []
    converted, fetched = zoo.folder / "converted.pth", zoo.folder / "theirs.pth"
    whole = fetched.read_bytes()
    fetched.unlink()
    assert verify(model) == []
    converted.write_bytes(b"x")
    fetched.write_bytes(whole[:-1] + b"x")
    found = verify(model)
    assert len(found) == 2
    assert any("theirs.pth has SHA-256" in line for line in found)
    assert any("converted.pth has changed" in line for line in found)
    assert remove(model)
    assert not zoo.folder.exists()
    assert not remove(model)


def test_an_exported_network_is_fetched_with_all_its_files(zoo, server, monkeypatch):
    from ehrpose.deploy import arrival
    from ehrpose.deploy.sidecar import DeployError
    from ehrpose.inferencers.inferencer import PoseInferencer
    from ehrpose.inferencers.model_spec import ModelSpec

    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    network = (ROOT / "tests/data/tiny_network.onnx").read_bytes()
    server.files.update({"/net.xml": network, "/net.bin": b"weights"})
    also = {"URL": f"{server.url}/net.bin", "SHA384": hashlib.sha384(b"weights").hexdigest(), "Bytes": 7}
    remote = {
        "Kind": "ir",
        "SHA256": hashlib.sha256(network).hexdigest(),
        "Bytes": len(network),
        "Also": [also],
    }
    zoo.write(Config=None, Weights=f"{server.url}/net.xml", Remote=remote)
    with pytest.raises(DeployError, match="unknown kind 'xs', expected one of omz-hpe-0001"):
        PoseInferencer("xs")
    assert zoo.kept() == ["net.bin", "net.xml"]

    def import_arrived(model, files, folder):
        assert [path.name for path in files] == ["net.xml", "net.bin"]
        target = folder / "tiny_network.onnx"
        target.write_bytes(files[0].read_bytes())
        sidecar = folder / "tiny_network.onnx.json"
        sidecar.write_bytes((ROOT / "tests/data/tiny_network.onnx.json").read_bytes())
        return [target, sidecar]

    monkeypatch.setattr(arrival, "import_arrived", import_arrived)
    for _ in range(2):
        with PoseInferencer("xs") as inferencer:
            assert len(list(inferencer(np.zeros((64, 64, 3), np.uint8)))) == 1
    assert len(server.requests) == 2
    assert find_model("xs").is_exported
    with pytest.raises(ValueError, match="is an exported network, not a checkpoint"):
        init_model("xs")
    with pytest.raises(ValueError, match="exported network, which contains its weights"):
        ModelSpec.parse("xs", "none").files()


def test_conversion_is_asked_for_once_and_may_fail(zoo, server):
    calls = []

    def arrive(model, files, folder):
        calls.append(files)
        if len(calls) == 1:
            raise ValueError("cannot")
        (folder / "made.pth").write_bytes(b"made")
        return [folder / "made.pth"]

    model = find_model("xs")
    with pytest.raises(ValueError, match="cannot"):
        fetch(model, arrive)
    assert zoo.kept() == ["theirs.pth"]
    assert [fetch(model, arrive).name for _ in range(3)] == ["made.pth"] * 3
    assert len(calls) == 2
    assert len(server.requests) == 1
