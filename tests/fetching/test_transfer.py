"""Transfers of files whose size may be unknown, from servers with versions, ranges and faults."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from ehrpose import transfer
from ehrpose.transfer import DownloadError, NoConnectionError, check_file, download
from ehrpose.web_files import WebFile, is_plain_name, is_secure, read_remote

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(250_000)
PATH = "/a.pth"


def wanted(server, content=CONTENT, digits=8, **changes):
    digest = hashlib.sha256(content).hexdigest()[:digits]
    return WebFile("a.pth", f"{server.url}{PATH}", {"sha256": digest})._replace(**changes)


def get(file, folder, **options):
    return download(file, folder, **{"retries": 1, "wait": 0.01, **options})


@pytest.fixture
def served(server):
    server.files[PATH] = CONTENT
    return server


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("digits", [8, 64])
def test_a_file_of_unknown_size_is_fetched_and_checked(served, tmp_path, digits, says_length):
    served.says_length = says_length
    seen = []
    path = get(wanted(served, digits=digits), tmp_path, on_progress=lambda *state: seen.append(state))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT) if says_length else None)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_several_hashes_must_all_be_right(served, tmp_path):
    both = {"sha384": hashlib.sha384(CONTENT).hexdigest(), "sha256": "0" * 8}
    with pytest.raises(DownloadError, match=r"as downloaded has SHA-256 \w+, expected 00000000"):
        get(wanted(served, digests=both), tmp_path)
    assert list(tmp_path.iterdir()) == []
    both["sha256"] = hashlib.sha256(CONTENT).hexdigest()
    assert get(wanted(served, digests=both), tmp_path).is_file()


def test_a_cut_is_resumed_if_it_is_still_the_same_version(served, tmp_path):
    served.tags[PATH] = '"one"'
    served.faults = [100_000, 50_000]
    assert get(wanted(served), tmp_path).read_bytes() == CONTENT
    assert served.requests == [
        (PATH, None, None),
        (PATH, "bytes=100000-", '"one"'),
        (PATH, "bytes=150000-", '"one"'),
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_another_version_is_fetched_from_its_beginning_also_by_the_next_run(served, tmp_path):
    served.tags[PATH] = '"one"'
    served.faults = [100_000, 0, 0]
    with pytest.raises(NoConnectionError, match=r"after 100000 of 300000.*kept in .*a\.pth\.part, run"):
        get(wanted(served, OTHER), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pth.part", "a.pth.part.version"]
    served.files[PATH], served.tags[PATH] = OTHER, '"two"'
    served.faults = [30_000]
    assert get(wanted(served, OTHER), tmp_path).read_bytes() == OTHER
    assert served.requests[-2:] == [(PATH, "bytes=100000-", '"one"'), (PATH, "bytes=30000-", '"two"')]


@pytest.mark.parametrize("tag", ['W/"weak"', '"t\x00ab"'])
def test_a_version_that_cannot_be_asked_for_is_not(served, tmp_path, tag):
    served.tags[PATH] = tag
    served.faults = [100_000]
    assert get(wanted(served), tmp_path).read_bytes() == CONTENT
    assert served.requests[-1] == (PATH, "bytes=100000-", None)


def test_a_server_that_ignores_ranges_sends_all_again(served, tmp_path):
    served.takes_ranges = False
    served.faults = [100_000, 150_000]
    assert get(wanted(served), tmp_path).read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_asked_for_all(served, tmp_path):
    (tmp_path / "a.pth.part").write_bytes(CONTENT[:100])
    served.files[PATH] = CONTENT
    original = served.RequestHandlerClass.send_header

    class Wrong(served.RequestHandlerClass):
        def send_header(self, name, value):
            original(self, name, "bytes 7-299999/300000" if name == "Content-Range" else value)

    served.RequestHandlerClass = Wrong
    assert get(wanted(served), tmp_path).read_bytes() == CONTENT
    assert served.ranges(PATH) == ["bytes=100-", None]


def test_a_whole_part_needs_its_name_only(served, tmp_path):
    (tmp_path / "a.pth.part").write_bytes(CONTENT)
    assert get(wanted(served), tmp_path).read_bytes() == CONTENT
    (tmp_path / "a.pth").unlink()
    (tmp_path / "a.pth.part").write_bytes(CONTENT + b"more")
    assert get(wanted(served), tmp_path).read_bytes() == CONTENT


def test_too_many_bytes_end_the_transfer(served, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_UNKNOWN", 100_000)
    for says_length in (True, False):
        served.says_length = says_length
        with pytest.raises(
            DownloadError, match="expected at most 100000 bytes, the server has 300000 or more"
        ):
            get(wanted(served), tmp_path)
    served.says_length = False
    with pytest.raises(DownloadError, match="expected at most 200000 bytes"):
        get(wanted(served, size=200_000), tmp_path)
    assert not (tmp_path / "a.pth").exists()


def test_a_missing_file_is_not_asked_for_twice(served, tmp_path):
    with pytest.raises(DownloadError, match=r"b\.pth: the server answered 404"):
        get(wanted(served, url=f"{served.url}/b.pth"), tmp_path)
    assert len(served.requests) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "target", ["http://example.org/a.pth", "ftp://example.org/a.pth", "file:///etc/passwd"]
)
def test_only_https_and_this_machine_are_followed(served, tmp_path, target):
    served.files["/moved.pth"] = target
    with pytest.raises(DownloadError, match=r"moved\.pth redirects to .*: expected an https:// address"):
        get(wanted(served, url=f"{served.url}/moved.pth"), tmp_path)
    with pytest.raises(DownloadError, match="expected an https:// address"):
        get(wanted(served, url=target), tmp_path)
    assert list(tmp_path.iterdir()) == []
    served.files["/moved.pth"] = PATH
    assert get(wanted(served, url=f"{served.url}/moved.pth"), tmp_path).is_file()


def test_safe_addresses_and_names():
    assert all(
        map(is_secure, ["https://a.org/b", "http://127.0.0.1:8/b", "http://localhost/b", "http://[::1]/b"])
    )
    assert not any(
        map(is_secure, ["http://a.org/b", "http://127.0.0.1.a.org/b", "ftp://127.0.0.1/b", "/b", ""])
    )
    assert all(map(is_plain_name, ["a", "a.pth", "h-1_coco-480", "a-8ae85183_20200713.pth"]))
    bad = ["", ".", "..", "../a", "a/b", "a\\b", ".a", "a.", "a b", "C:a", "a\n", "a\0", "é"]
    assert not any(map(is_plain_name, bad))


@pytest.mark.parametrize(
    ("weights", "facts", "message"),
    [
        ("https://a.org/b.pth", {}, "files without a published hash are not fetched"),
        ("https://a.org/b.pth", {"SHA256": "8ae8518"}, "at least 8 hex digits"),
        ("https://a.org/b.pth", {"SHA256": "x" * 64}, "at least 8 hex digits"),
        ("https://a.org/b.pth", {"SHA384": "0" * 97}, "at least 8 hex digits"),
        ("http://a.org/b.pth", {"SHA256": "0" * 64}, "expected an https:// address"),
        ("https://a.org/..", {"SHA256": "0" * 64}, "cannot be a file name"),
        ("https://a.org/x/..%2F..%2Fb.pth%20", {"SHA256": "0" * 64}, "cannot be a file name"),
        ("https://a.org/b.pth", {"SHA256": "0" * 64, "Kind": "pickle"}, "Kind must be one of checkpoint, ir"),
    ],
)
def test_entries_that_are_not_safe_are_refused(weights, facts, message):
    with pytest.raises(ValueError, match=message):
        read_remote(weights, facts)


def test_a_file_can_be_checked_without_a_transfer(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    file = WebFile("a", "", {"sha384": hashlib.sha384(CONTENT).hexdigest()}, len(CONTENT))
    check_file(tmp_path / "a", file)
    with pytest.raises(DownloadError, match="has 300000 bytes, expected 5: remove it"):
        check_file(tmp_path / "a", file._replace(size=5))
    assert file.hash_text.startswith("SHA-384 ")
    assert not file.hash_text.endswith("...")
