"""Inputs of a batch, and the options that name a small real network."""

from __future__ import annotations

import os
import time

import cv2
import pytest

from ehrpose.media import VideoWriter


@pytest.fixture(scope="session")
def small_network(exported_small):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    return ["--model", exported_small().path, "--bbox-thr", "0", "--format", "jsonl"]


@pytest.fixture(scope="session")
def scenes_folder(_scenes, tmp_path_factory):
    """Five photos and three videos, one of them long; a broken one of each. Nothing in it may change."""
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), _scenes[number % 3])
    (folder / "2.png").write_bytes(b"broken")
    for name, count in (("a.mp4", 9), ("b.mkv", 80), ("c.mp4", 9)):
        with VideoWriter(folder / name, fps=10) as writer:
            for number in range(count):
                writer.write(_scenes[number // 3 % 3])
    (folder / "broken.mp4").write_bytes(b"no video")
    for path in folder.iterdir():
        path.chmod(0o444)
        os.utime(path, (time.time() - 1000,) * 2)
    folder.chmod(0o555)
    before = _state(folder)
    yield folder
    assert _state(folder) == before, "the inputs are only read"
    folder.chmod(0o755)


def _state(folder):
    return sorted((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir())
