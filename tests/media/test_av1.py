"""AV1 videos: read, and written without a change to how the system schedules this process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip

from ehrpose.media import VideoError, VideoReader, VideoWriter

written = pytest.mark.skipif("libsvtav1" not in av.codecs_available, reason="this PyAV cannot write AV1")


@written
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_av1_is_read(tmp_path, suffix, capfd):
    path = make_clip(tmp_path / f"a{suffix}", [0, 0.1, 0.25, 0.3], codec="libsvtav1", flash=0.25)
    with VideoReader(path) as reader:
        read = list(reader)
        assert (reader.num_frames, reader.num_missing, reader.size_wh) == (4, 0, (64, 48))
    assert [time for _, time in read] == pytest.approx([0, 0.1, 0.25, 0.3], abs=0.0015)
    assert [image.mean() > 150 for image, _ in read] == [False, False, True, True]


def test_a_video_that_cannot_be_decoded_is_named(tmp_path):
    """As an AV1 video is where PyAV lacks its decoder."""
    path = make_clip(tmp_path / "a.mp4", [0, 0.1])
    path.write_bytes(path.read_bytes().replace(b"mp4v", b"av99").replace(b"esds", b"av99"))
    with pytest.raises(VideoError, match=r"a\.mp4 has no readable frames: its format is not supported"):
        VideoReader(path)


@written
@pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler"), reason="this system does not tell how it schedules"
)
@pytest.mark.parametrize("how", ["writer", "clip"])
def test_writing_av1_takes_no_real_time_priority(tmp_path, how):
    """As root, SVT-AV1 would make this process, and all that it starts later, push the rest of the machine aside."""
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    path = tmp_path / "a.mp4"
    seen = []
    if how == "clip":
        make_clip(path, [0, 0.1], codec="libsvtav1")
        seen = policies()
    else:
        with VideoWriter(path, 10, codec="av01") as writer:
            for level in (0, 128, 255):
                writer.write(np.full((64, 64, 3), level, np.uint8))
                seen += policies()
    later = []
    thread = threading.Thread(target=lambda: later.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    assert seen
    assert set(seen) == {before}
    assert later == [before[0]]
    with VideoReader(path) as reader:
        assert reader.num_frames == (2 if how == "clip" else 3)


def policies():
    """Return policy and priority of each thread of this process."""
    found = []
    for entry in Path("/proc/self/task").iterdir():
        try:
            found.append(
                (os.sched_getscheduler(int(entry.name)), os.sched_getparam(int(entry.name)).sched_priority)
            )
        except OSError:  # it has ended
            continue
    return found
