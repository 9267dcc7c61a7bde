from __future__ import annotations

import zipfile

import pytest

from ehrpose import archives
from ehrpose.archives import ArchiveError, ArchiveLimits, open_archive, unpack
from ehrpose.datasets import download
from ehrpose.datasets.converters.command import unpacked
from ehrpose.models.weights.checkpoint import read_checkpoint

LIMITS = ArchiveLimits(max_files=5, max_unpacked=4000, max_ratio=10)


@pytest.fixture(autouse=True)
def every_ratio_counts(monkeypatch):
    monkeypatch.setattr(archives, "_SMALL", 0)


def packed(path, *sizes, names=None, fill=None, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for i, size in enumerate(sizes):
            content = bytes(j * j * 7 % 251 for j in range(size)) if fill is None else fill * size
            archive.writestr(names[i] if names else f"a/{i}.jpg", content)
    return path


CASES = {
    "count": (dict(sizes=[9] * 6), "it has 6 files, max_files is 5"),
    "size": (
        dict(sizes=[1500] * 3, method=zipfile.ZIP_STORED),
        r"states 0\.0 GB unpacked, max_unpacked is 4e-06 GB",
    ),
    "ratio": (
        dict(sizes=[3900], fill=b"0"),
        r"its \d+ bytes become 3900 unpacked, \d+ times as many; max_ratio is 10",
    ),
    "method": (
        dict(sizes=[99], method=zipfile.ZIP_LZMA),
        "is compressed by method 14, expected stored or deflated",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_beyond_a_limit_is_refused_before_anything_is_written(tmp_path, case):
    made, message = CASES[case]
    options = {key: value for key, value in made.items() if key != "sizes"}
    path = packed(tmp_path / "a.zip", *made["sizes"], **options)
    with pytest.raises(ArchiveError, match=rf"a\.zip is refused: .*{message}"):
        unpack(path, tmp_path / "out", limits=LIMITS)
    assert not (tmp_path / "out").exists()


def test_what_is_within_the_limits_is_unpacked(tmp_path):
    path = packed(tmp_path / "a.zip", 100, 200, 300, 400, 0)
    assert unpack(path, tmp_path / "out", limits=LIMITS) == 5
    assert [(tmp_path / f"out/a/{i}.jpg").stat().st_size for i in range(5)] == [100, 200, 300, 400, 0]


@pytest.mark.parametrize("place", ["download", "converter", "checkpoint"])
def test_every_place_that_unpacks_has_the_limits(tmp_path, monkeypatch, place):
    monkeypatch.setattr(archives, "LIMITS", LIMITS)
    path = packed(tmp_path / "a.zip", 3900, fill=b"0")

    def convert(path):
        with unpacked(path):
            pytest.fail("it was unpacked")

    use = {
        "download": lambda path: download.unpack(path, tmp_path / "out"),
        "converter": convert,
        "checkpoint": read_checkpoint,
    }[place]
    with pytest.raises(ValueError, match=r"a\.zip is refused: .*max_ratio is 10"):
        use(path)
    assert not (tmp_path / "out").exists()


def test_one_piece_of_data_under_many_names_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", 900, 900, method=zipfile.ZIP_STORED, names=["a", "b"])
    with zipfile.ZipFile(path) as archive:
        second = archive.getinfo("b").header_offset
    data = path.read_bytes()
    directory = data.index(b"PK\1\2")
    entry = data[directory:].replace(second.to_bytes(4, "little"), bytes(4))  # both at the first's place
    end = bytearray(entry)
    end[-6:-2] = (900 + 31).to_bytes(4, "little")
    path.write_bytes(data[: 900 + 31] + bytes(end))
    with (
        pytest.raises(ArchiveError, match=r"its files state 1800 bytes in an archive of \d+"),
        open_archive(path),
    ):
        pass


def test_a_directory_of_too_many_files_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = packed(tmp_path / "a.zip", *[1] * 60, names=[f"{i:0>60}" for i in range(60)])
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(
        ArchiveError, match=r"its directory states \d+ bytes, at least \d+ files; max_files is 5"
    ):
        unpack(path, tmp_path / "out", limits=LIMITS)


def test_an_archive_that_needs_a_password_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", 9)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"'a/0\.jpg' is encrypted"), open_archive(path, LIMITS):
        pass


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\5\6" + bytes(5)])
def test_what_is_no_archive_is_damaged(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a\.zip is damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_small_archives_may_shrink_much(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_SMALL", 2**26)
    assert unpack(packed(tmp_path / "a.zip", 10**6, fill=b"0"), tmp_path / "out") == 1
