"""The Hugging Face hub as a second source, against stand-ins: a module of its name, and a local endpoint."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from importlib import util
from pathlib import Path

import pytest

from ehrpose.fetching.hub import download_from_hub
from ehrpose.model_zoo import find_model
from ehrpose.models.weights.arrival import local_weights
from ehrpose.transfer import DownloadError
from ehrpose.web_files import HubFile

ROOT = Path(__file__).resolve().parents[2]
HUB = {"Repo": "owner/repo", "File": "weights/theirs.pth", "Revision": "a" * 40}


@pytest.fixture
def fake_hub(monkeypatch):
    """A module huggingface_hub that writes ``content`` and notes how it was called."""
    hub = types.ModuleType("huggingface_hub")
    hub.content, hub.calls = b"", []

    def hf_hub_download(repo_id, filename, revision, local_dir):
        hub.calls.append((repo_id, filename, revision))
        if hub.content is None:
            raise OSError("404 Client Error\nand more")
        path = Path(local_dir, filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hub.content)
        return str(path)

    hub.hf_hub_download = hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setattr("ehrpose.fetching.fetch.has_hub", lambda: True)
    return hub


def with_hub(zoo, **changes):
    zoo.write(Remote={**zoo.entry["Remote"], "Hugging Face": HUB}, **changes)
    return find_model("xs")


def test_the_hub_is_asked_if_the_first_source_fails(zoo, server, fake_hub, theirs, capsys):
    fake_hub.content = theirs
    del server.files["/lite/theirs.pth"]
    assert local_weights(with_hub(zoo)).is_file()
    assert fake_hub.calls == [("owner/repo", "weights/theirs.pth", "a" * 40)]
    assert zoo.kept() == ["converted.pth", "record.json", "theirs.pth"]
    assert "answered 404 Not Found; trying the Hugging Face hub" in capsys.readouterr().err


def test_the_hub_may_be_the_only_source(zoo, server, fake_hub, theirs):
    fake_hub.content = theirs
    assert local_weights(with_hub(zoo, Weights=None)).is_file()
    assert server.requests == []


def test_the_hub_is_not_asked_if_the_first_source_works(zoo, fake_hub):
    assert local_weights(with_hub(zoo)).is_file()
    assert fake_hub.calls == []


def test_the_hubs_file_must_have_the_hash_too(zoo, server, fake_hub, theirs):
    fake_hub.content = theirs + b"x"
    with pytest.raises(DownloadError, match="from the hub has SHA-256"):
        local_weights(with_hub(zoo, Weights=None))
    assert "theirs.pth" not in zoo.kept()
    assert "converted.pth" not in zoo.kept()


def test_the_hubs_errors_are_one_line(zoo, fake_hub):
    fake_hub.content = None
    with pytest.raises(
        DownloadError, match=r"owner/repo/weights/theirs\.pth at a+ on .* hub: 404 Client Error$"
    ):
        local_weights(with_hub(zoo, Weights=None))


def test_without_the_package_the_first_error_stays(zoo, server, monkeypatch):
    monkeypatch.setattr("ehrpose.fetching.fetch.has_hub", lambda: False)
    del server.files["/lite/theirs.pth"]
    with pytest.raises(DownloadError, match="answered 404"):
        local_weights(with_hub(zoo))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match="huggingface_hub is not installed"):
        local_weights(with_hub(zoo, Weights=None))


@pytest.mark.skipif(util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed")
def test_the_real_package_fetches_from_a_local_endpoint(server, tmp_path):
    content = b"weights" * 1000
    path = f"/owner/repo/resolve/{'a' * 40}/weights/theirs.pth"
    server.files[path] = content
    server.tags[path] = '"0123456789abcdef0123456789abcdef01234567"'
    server.extra_headers["X-Repo-Commit"] = "a" * 40
    code = (
        "import sys; from pathlib import Path; from ehrpose.fetching.hub import download_from_hub\n"
        "from ehrpose.web_files import HubFile\n"
        "print(download_from_hub(HubFile('owner/repo', 'weights/theirs.pth', 'a' * 40), Path(sys.argv[1])))"
    )
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "new")],
        env=env,
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).read_bytes() == content


def test_a_folder_is_not_a_file(fake_hub, tmp_path):
    fake_hub.hf_hub_download = lambda **_: str(tmp_path)
    with pytest.raises(DownloadError, match="expected a file"):
        download_from_hub(HubFile("a/b", "c", "main"), tmp_path)
