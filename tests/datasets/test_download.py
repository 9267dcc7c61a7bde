"""Downloads from a local server with typical faults."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ehrpose import transfer
from ehrpose.datasets import download as module
from ehrpose.datasets.download import DownloadError, RemoteDataset, RemoteFile, download, unpack
from ehrpose.files import WriteError

CONTENT = np.random.default_rng(0).bytes(300_000)


class Server(ThreadingHTTPServer):
    """Serves `files`; each request takes one of `faults`: a status, or the bytes after which the connection is cut."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes | str] = {"/zips/a.zip": CONTENT}
        self.faults: list = []
        self.ranges: list = []
        self.takes_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, str) or self.path not in server.files:
            self.send_error(int(fault or 404))
            return
        content, start = server.files[self.path], 0
        if isinstance(content, str):  # another address
            self.send_response(302)
            self.send_header("Location", content)
            self.end_headers()
            return
        if server.takes_ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if fault is None else content[start : start + fault])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def remote(content=CONTENT, **changes) -> RemoteFile:
    wanted = RemoteFile("zips/a.zip", len(content), hashlib.md5(content).hexdigest(), "a")
    return wanted._replace(**changes)


def test_a_file_is_downloaded_and_checked(server, tmp_path):
    seen = []
    path = download(remote(), server.url, tmp_path / "new", on_progress=lambda *state: seen.append(state))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in path.parent.iterdir()] == ["a.zip"]
    assert download(remote(), server.url, tmp_path / "new") == path
    assert server.ranges == [None]  # no request the second time


def test_a_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    server.faults = [100_000, 50_000, 0, 120_000]
    path = download(remote(), server.url, tmp_path, retries=1, wait=0.01)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-", "bytes=150000-", "bytes=270000-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_fills_up_ends_the_download(server, tmp_path, monkeypatch):
    full = Path("/dev/full")
    monkeypatch.setattr(transfer, "open_kept", lambda *_, append: full.open("ab"))
    with pytest.raises(
        WriteError, match=r"a\.zip\.part could not be written: No space left on device \(\d+ MB"
    ):
        download(remote(), server.url, tmp_path)
    assert server.ranges == [None]  # a retry would not help


def test_the_next_run_resumes(server, tmp_path):
    server.faults = [100_000, 0, 0]
    with pytest.raises(
        DownloadError, match=r"closed the connection after 100000 of 300000.*are kept in .*a\.zip\.part"
    ):
        download(remote(), server.url, tmp_path, retries=1, wait=0.01)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip.part"]
    assert download(remote(), server.url, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=100000-"


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.takes_ranges = False
    server.faults = [100_000]
    assert download(remote(), server.url, tmp_path, wait=0.01).read_bytes() == CONTENT


def test_server_errors_are_retried_but_not_a_missing_file(server, tmp_path):
    server.faults = ["503", "500"]
    assert download(remote(), server.url, tmp_path, wait=0.01).read_bytes() == CONTENT
    with pytest.raises(DownloadError, match=r"zips/b\.zip: the server answered 404"):
        download(remote(path="zips/b.zip"), server.url, tmp_path, wait=0.01)
    assert server.ranges == [None] * 4


@pytest.mark.parametrize(
    "scheme", ["file://", "ftp://127.0.0.1", "data:text/plain,", "gopher://127.0.0.1", "FILE://"]
)
def test_redirects_out_of_the_web_are_refused(server, tmp_path, scheme):
    marker = tmp_path / "marker"
    marker.write_bytes(CONTENT)
    server.files["/zips/b.zip"] = f"{scheme}{marker}"
    with pytest.raises(
        DownloadError, match=rf"zips/b\.zip redirects to {scheme}.*: expected an http:// or https://"
    ):
        download(remote(path="zips/b.zip"), server.url, tmp_path / "new", wait=0.01)
    assert list((tmp_path / "new").iterdir()) == []
    assert len(server.ranges) == 1  # no retry


def test_redirects_within_the_web_are_followed(server, tmp_path):
    server.files["/zips/b.zip"] = "/zips/a.zip"
    assert download(remote(path="zips/b.zip"), server.url, tmp_path).read_bytes() == CONTENT


def test_a_server_is_on_the_web(tmp_path):
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips/a.zip").write_bytes(CONTENT)
    with pytest.raises(DownloadError, match="expected an http:// or https:// address"):
        download(remote(), f"file://{tmp_path}", tmp_path / "new")


def test_a_part_that_is_a_link_is_refused(server, tmp_path):
    marker = tmp_path / "marker"
    marker.write_bytes(b"of others")
    new = tmp_path / "new"
    new.mkdir()
    (new / "a.zip.part").symlink_to(marker)
    with pytest.raises(DownloadError, match=r"a\.zip\.part is a link"):
        download(remote(), server.url, new)
    with pytest.raises(OSError, match="symbolic link"):
        transfer.open_kept(new / "a.zip.part", append=True)
    assert marker.read_bytes() == b"of others"


def test_no_server_at_all(tmp_path, server):
    address = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"refused.*, 2 times; 0 MB are kept"):
        download(remote(), address, tmp_path, retries=1, wait=0.01)


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=r"has MD5 \w+, expected 0000"):
        download(remote(md5="0000"), server.url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_size_on_the_server_is_named_before_anything_is_downloaded(server, tmp_path):
    with pytest.raises(DownloadError, match="expected 299999 bytes, the server has 300000"):
        download(remote(size=299_999), server.url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_too_long_is_downloaded_again(server, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(bytes(400_000))
    assert download(remote(), server.url, tmp_path).read_bytes() == CONTENT


def test_an_existing_wrong_file_is_named_and_kept(server, tmp_path):
    (tmp_path / "a.zip").write_bytes(bytes(len(CONTENT)))
    with pytest.raises(DownloadError, match="exists, but has MD5"):
        download(remote(), server.url, tmp_path)
    assert (tmp_path / "a.zip").exists()
    assert server.ranges == []


def test_a_full_disk_is_reported_at_once(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DownloadError, match=r"needs 0\.0 GB more"):
        download(remote(), server.url, tmp_path)
    assert server.ranges == []


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as content:
        for i in range(5):
            content.writestr(f"a/{i}.jpg", f"photo {i}" * 100)
        content.mkdir("a/empty") if hasattr(content, "mkdir") else None
    return path


def test_unpacking_is_resumed(archive, tmp_path):
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/a/0.jpg").write_text("photo 0" * 100)
    (tmp_path / "out/a/1.jpg").write_text("cut")
    seen = []
    assert unpack(archive, tmp_path / "out", lambda *state: seen.append(state)) == 4
    assert seen == [(2, 5), (3, 5), (4, 5), (5, 5)]
    assert {p.name: p.read_text() for p in (tmp_path / "out/a").glob("*")} == {
        f"{i}.jpg": f"photo {i}" * 100 for i in range(5)
    }
    assert unpack(archive, tmp_path / "out") == 0


def test_a_damaged_archive_is_named(archive, tmp_path):
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-30])
    with pytest.raises(DownloadError, match=r"a\.zip is damaged"):
        unpack(archive, tmp_path / "out")
    place = whole.index(b"photo 3")
    archive.write_bytes(whole[:place] + b"PHOTO" + whole[place + 5 :])
    with pytest.raises(DownloadError, match=r"a\.zip is damaged: Bad CRC"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out/a/3.jpg").exists()


def test_an_archive_stays_in_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as content:
        content.writestr("../evil.jpg", "x")
    with pytest.raises(DownloadError, match="leads out of the folder"):
        unpack(tmp_path / "evil.zip", tmp_path / "out")
    assert not (tmp_path / "evil.jpg").exists()


@pytest.fixture
def tool(root, server, tmp_path, monkeypatch):
    """The command, for a dataset of two small archives on the local server."""
    files = {}
    for part in ("val", "test"):
        path = tmp_path / f"{part}.zip"
        with zipfile.ZipFile(path, "w") as content:
            content.writestr(f"{part}2017/1.jpg", part)
        server.files[f"/zips/{part}.zip"] = path.read_bytes()
        files[part] = remote(path.read_bytes(), path=f"zips/{part}.zip", marker=f"{part}2017")
        path.unlink()
    monkeypatch.setitem(module.REMOTE_DATASETS, "coco2017", RemoteDataset(server.url, files, ("val",)))
    spec = importlib.util.spec_from_file_location("download_dataset", root / "tools/misc/download_dataset.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return lambda *words: script.main(["--save-dir", str(tmp_path / "coco"), *words])


def test_the_command_downloads_and_unpacks_once(tool, server, tmp_path, capsys):
    tool("--unzip", "--delete")
    assert (tmp_path / "coco/val2017/1.jpg").read_text() == "val"
    assert [p.name for p in (tmp_path / "coco").iterdir()] == ["val2017"]
    tool("--unzip", "--delete", "--parts", "val", "test")
    assert "val: already present" in capsys.readouterr().out
    assert (tmp_path / "coco/test2017/1.jpg").read_text() == "test"
    assert len(server.ranges) == 2


def test_the_command_names_unknown_words(tool, capsys):
    for words, message in (
        (["--parts", "nothing"], "unknown ['nothing']; available: ['val', 'test']"),
        (["--delete"], "--delete without --unzip"),
        (["--retries", "-1"], "--retries must be at least 0"),
    ):
        with pytest.raises(SystemExit):
            tool(*words)
        assert message in capsys.readouterr().err


def test_cocos_parts_are_where_configs_look_for_them(root):
    dataset = module.REMOTE_DATASETS["coco2017"]
    config = (root / "configs/_base_/datasets/coco.py").read_text()
    assert all(dataset.files[part].marker in config for part in dataset.default)
