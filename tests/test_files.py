from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from ehrpose.cli import run_cli
from ehrpose.files import (
    PartialFile,
    WriteError,
    explained,
    make_parent,
    write_bytes,
    write_text,
    written_beside,
)

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files or permissions")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_with(path, write):
    with written_beside(path) as partial:
        write(partial)


def raise_full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "people.json"
    path.write_text("old")
    return path


@pytest.fixture
def ordinary_user():
    """A folder, seen by a user without full permissions."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


def test_content_is_written_whole(tmp_path):
    write_bytes(tmp_path / "a.bin", bytes(range(256)))
    write_text(tmp_path / "new" / "folders" / "ä.txt", "höhe\n", durable=False)
    assert (tmp_path / "a.bin").read_bytes() == bytes(range(256))
    assert (tmp_path / "new/folders/ä.txt").read_bytes() == "höhe\n".encode()
    assert names(tmp_path) == ["a.bin", "new"]
    assert names(tmp_path / "new/folders") == ["ä.txt"]


def test_old_content_is_there_until_the_new_one_is_whole(old):
    with written_beside(old) as partial:
        partial.write_text("new")
        assert old.read_text() == "old"
        assert re.fullmatch(rf"\.people\.\w{{8}}-{os.getpid()}-\d+-\w{{16}}\.partial\.json", partial.name)
    assert (old.read_text(), names(old.parent)) == ("new", ["people.json"])


@pytest.mark.parametrize(
    "name", ["人" * 80 + ".json", "a" * 250 + ".txt", ".hidden", "no_suffix", "two.dots.tar"]
)
def test_any_name_that_a_file_may_have_can_be_written(tmp_path, name):
    write_text(tmp_path / name, "x")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_leaves_what_was_there(old, monkeypatch, place, code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    def write(partial):
        partial.write_text("new")
        if place == "write":
            fail()

    if place != "write":
        monkeypatch.setattr(os, place, fail)
    with pytest.raises(WriteError) as caught:
        write_with(old, write)
    assert caught.value.errno == code
    assert f"{old} could not be written: {os.strerror(code)}" in str(caught.value)
    assert bool(re.search(r"\(\d+ MB free\)", str(caught.value))) == (code == errno.ENOSPC)
    assert (old.read_text(), names(old.parent)) == ("old", ["people.json"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_disk_that_is_really_full_is_named(tmp_path):
    def write():
        with explained(tmp_path / "a.json"):
            Path("/dev/full").write_text("x")

    with pytest.raises(
        WriteError, match=r"a\.json could not be written: No space left on device \(\d+ MB free"
    ):
        write()


def test_a_folder_that_cannot_be_made_on_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "mkdir", raise_full_disk)
    with pytest.raises(WriteError, match=r"a\.json could not be written: No space left .*\(\d+ MB free\)"):
        write_text(tmp_path / "new" / "folder" / "a.json", "x")


def test_other_errors_leave_what_was_there_too(old):
    for error in (KeyError("x"), KeyboardInterrupt(), ValueError("y")):

        def fail(partial, error=error):
            partial.write_text("new")
            raise error

        with pytest.raises(type(error)):
            write_with(old, fail)
    assert (old.read_text(), names(old.parent)) == ("old", ["people.json"])


def test_an_error_in_removing_does_not_hide_its_reason(old, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "in use")  # Windows, of a file that is still open

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(WriteError, match="No space left"):
        write_with(old, raise_full_disk)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_systems_that_cannot_flush_are_written_to(old, monkeypatch, code):
    def refuse(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    write_text(old, "new")
    assert old.read_text() == "new"


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_flushed_is_no_error_of_the_file(old, monkeypatch, code):
    flush = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    write_text(old, "new")
    assert (old.read_text(), names(old.parent)) == ("new", ["people.json"])


@pytest.mark.parametrize(("durable", "expected"), [(True, ["file", "folder"]), (False, [])])
def test_file_and_folder_are_flushed_where_it_must_last(tmp_path, monkeypatch, durable, expected):
    flushed = []
    monkeypatch.setattr(
        os, "fsync", lambda d: flushed.append("folder" if stat.S_ISDIR(os.fstat(d).st_mode) else "file")
    )
    write_text(tmp_path / "a.txt", "x", durable)
    assert flushed == expected


def test_mistakes_of_the_user_keep_their_type_and_name_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    mistakes = {"none/a.json": FileNotFoundError, "folder": IsADirectoryError, "file/a": NotADirectoryError}
    for path, kind in mistakes.items():
        with pytest.raises(kind) as caught:
            write_with(tmp_path / path, lambda partial: partial.write_text("x"))
        assert caught.value.filename == str(tmp_path / path)
        assert not isinstance(caught.value, WriteError)
    with pytest.raises(NotADirectoryError):
        write_text(tmp_path / "file" / "a.json", "x")
    with pytest.raises(IsADirectoryError):
        PartialFile(".")
    assert names(tmp_path) == ["file", "folder"]


@POSIX
def test_a_folder_without_permission_is_the_users_to_set_right(ordinary_user):
    closed = ordinary_user / "closed"
    closed.mkdir()
    (closed / "a.txt").write_text("old")
    closed.chmod(0o555)
    with pytest.raises(PermissionError) as caught:
        write_text(closed / "a.txt", "new")
    assert caught.value.filename == str(closed / "a.txt")
    with pytest.raises(PermissionError):
        make_parent(closed / "new" / "a.txt")
    assert ((closed / "a.txt").read_text(), names(closed)) == ("old", ["a.txt"])
    closed.chmod(0o755)


@POSIX
def test_a_folder_that_may_be_written_but_not_read_is_enough(ordinary_user):
    drop = ordinary_user / "drop"
    drop.mkdir()
    drop.chmod(0o300)
    write_text(drop / "a.txt", "x")
    drop.chmod(0o700)
    assert names(drop) == ["a.txt"]


@POSIX
def test_permissions_are_those_of_an_ordinary_file_or_of_the_one_replaced(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    write_text(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == ordinary.stat().st_mode
    ordinary.chmod(0o640)
    write_text(ordinary, "x")
    assert stat.S_IMODE(ordinary.stat().st_mode) == 0o640


@POSIX
def test_a_link_is_replaced_and_what_it_pointed_to_stays(tmp_path):
    shared, link, lost = tmp_path / "shared", tmp_path / "link", tmp_path / "lost"
    shared.write_text("of others")
    shared.chmod(0o400)
    link.symlink_to(shared)
    lost.symlink_to(tmp_path / "nothing")
    for path in (link, lost):
        write_text(path, "new")
        assert (path.is_symlink(), path.read_text()) == (False, "new")
    assert link.stat().st_mode == lost.stat().st_mode
    assert (shared.read_text(), stat.S_IMODE(shared.stat().st_mode)) == ("of others", 0o400)
    (tmp_path / "folder").mkdir()
    (tmp_path / "shortcut").symlink_to(tmp_path / "folder")
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "shortcut", "x")
    write_text(tmp_path / "shortcut" / "a.txt", "x")
    assert names(tmp_path / "folder") == ["a.txt"]


@POSIX
def test_a_device_or_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PermissionError, match="Expected a regular file, got a device or pipe"):
        write_text(tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_writers_of_one_name_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    contents = {f"{number}" * 100_000 for number in range(8)}
    threads = [threading.Thread(target=write_text, args=(path, content, False)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in contents
    assert names(tmp_path) == ["a.txt"]


def test_processes_with_the_same_number_do_not_meet(root):
    code = "import os; os.getpid = lambda: 1; from ehrpose.files import partial_path; print(partial_path('a.txt'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(found) == 2


def test_a_file_that_stays_open_is_put_in_its_place_or_removed(old):
    file = PartialFile(old)
    file.partial.write_text("dropped")
    file.abort()
    file.abort()
    assert (old.read_text(), names(old.parent)) == ("old", ["people.json"])
    file.partial.write_text("new")
    file.commit()
    file.abort()
    assert (old.read_text(), names(old.parent)) == ("new", ["people.json"])


def test_a_full_disk_ends_a_tool_with_one_line(old, monkeypatch, capsys):
    monkeypatch.setattr(os, "fsync", raise_full_disk)
    with pytest.raises(SystemExit) as caught:
        run_cli(lambda: write_text(old, "new"))
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert re.fullmatch(
        rf"error: {re.escape(str(old))} could not be written: [^\n]* MB free\) [^\n]*\n", told
    )


def test_a_missing_folder_ends_a_tool_as_a_mistake_of_the_user(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(lambda: write_with(tmp_path / "none" / "a.json", Path.touch))
    assert caught.value.code == 2
    assert "none/a.json" in capsys.readouterr().err


RENAMES = {"files.py", "file_sets.py", "transfer.py"}  # the last names its part


def test_there_is_one_way_to_write_a_file(root):
    pattern = re.compile(
        r"\bos\.(replace|rename)\(|NamedTemporaryFile|\bmkstemp\(|\.part\b[\"']|cv2\.imwrite\("
    )
    package = root / "ehrpose"
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    # The first measures on a picture in a temporary folder; the others look for what a fault left.
    others = {"speed/deploy_benchmark.py", "reliability/crash_data.py", "reliability/crash_job.py"}
    assert found == RENAMES | {f"analysis/{name}" for name in others}
