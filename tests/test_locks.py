from __future__ import annotations

import subprocess
import sys

from ehrpose.locks import claimed

HOLD = """
import sys
from pathlib import Path
from ehrpose.locks import claimed
with claimed(Path(sys.argv[1])) as is_held:
    print(is_held, flush=True)
    sys.stdin.read()
"""


def hold(path, root):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdout.readline() == "True\n"
    return process


def test_a_claim_is_exclusive_and_leaves_no_file(tmp_path):
    path = tmp_path / "a.lock"
    with claimed(path) as first:
        with claimed(path) as second:
            assert (first, second) == (True, False)
        assert path.exists(), "it belongs to the first"
    assert not path.exists()
    with claimed(path) as again:
        assert again


def test_a_claim_ends_with_its_process(tmp_path, root):
    path = tmp_path / "a.lock"
    process = hold(path, root)
    with claimed(path) as is_held:
        assert not is_held
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert path.exists()
    with claimed(path) as is_held:
        assert is_held
    assert not path.exists()


def test_a_removed_file_is_not_taken_for_the_claim(tmp_path, monkeypatch):
    """Another process opened the file, and got its lock only after the holder had removed it."""
    import ehrpose.locks as locks

    path, opened = tmp_path / "a.lock", []

    def open_and_remove(name):
        opened.append(ordinary(name))
        if len(opened) == 1:
            name.unlink()
        return opened[-1]

    ordinary = locks._open
    monkeypatch.setattr(locks, "_open", open_and_remove)
    with claimed(path) as is_held:
        assert is_held
        assert path.exists()
    assert len(opened) == 2
