from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import make_clip

from ehrpose.media.clock import FrameClock
from ehrpose.media.facts import read_index
from ehrpose.media.pieces import WHOLE, Piece, PieceError, PieceReader, cut
from ehrpose.media.video import VideoReader

NOISE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


def encode(path, times, codec, **options):
    """Write noise that moves, so that each frame differs and a wrong reference is seen."""
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=30)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 10000)
        video.codec_context.options = {key: str(value) for key, value in options.items()}
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(np.roll(NOISE, number, 1)), format="bgr24"
            )
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = round(time * 10000), Fraction(1, 10000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
    return path


def even(count=60):
    return [i / 30 for i in range(count)]


def uneven(count=60):
    gaps = np.random.default_rng(1).integers(100, 1200, count) / 10000
    return np.cumsum(gaps).tolist()


def read_whole(path):
    with VideoReader(path) as reader:
        return [(image.tobytes(), time) for image, time in reader]


def read_cut(path, length, multiple=1):
    """Return the frames of all pieces with their times, and whether the seams agree."""
    facts, index = read_index(path)
    found, tail, agree, clock = [], "", True, FrameClock(facts.fps)
    pieces = cut(index, length, multiple)
    for start, piece in pieces:
        with PieceReader(path, piece, facts) as reader:
            assert start == len(found)
            for image, seconds in reader:
                clock.start = clock.start if found else seconds
                found.append((image.tobytes(), clock.step(seconds)))
        agree = agree and not reader.is_damaged and reader.head == tail
        tail = reader.tail
    return found, len(pieces), agree


@pytest.mark.parametrize("times", [even, uneven])
@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("short_groups.mp4", "libx264", {"g": 7, "bf": 2}),
        ("one_keyframe.mp4", "libx264", {"g": 1000, "bf": 3}),
        ("open_groups.mkv", "libx264", {"g": 12, "bf": 3, "x264-params": "open-gop=1:keyint=12"}),
        ("late.mp4", "libx264", {"g": 9, "bf": 2}),
        ("hevc.mkv", "libx265", {"x265-params": "keyint=12:bframes=3:open-gop=1:log-level=none"}),
        ("a.mkv", "mpeg4", {"g": 10, "bf": 2}),
        ("a.mov", "mpeg4", {"g": 10}),
        ("a.webm", "libvpx-vp9", {"g": 16, "deadline": "realtime"}),
        ("hidden.webm", "libvpx", {"g": 16, "auto-alt-ref": 1, "lag-in-frames": 8}),
        ("a.ts", "libx264", {"g": 10, "bf": 2}),
        ("a.flv", "flv", {"g": 10}),
        ("a.wmv", "wmv2", {"g": 10}),
    ],
)
def test_pieces_equal_the_whole_or_there_is_no_index(tmp_path, name, codec, options, times):
    if name == "a.mpg" or codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {codec}")
    shown = [time + 1.3 for time in times()] if name.startswith("late") else times()
    path = encode(tmp_path / name, shown, codec, **options)
    expected = read_whole(path)
    assert len(expected) == 60
    if read_index(path)[1] is None:
        assert path.suffix in (".wmv", ".flv"), "some of these rates and times cannot be stored there"
        return
    for length, multiple in ((15, 1), (11, 4)):
        found, count, agree = read_cut(path, length, multiple)
        assert count >= 4
        assert agree
        assert found == expected


def test_an_edit_list_hides_the_same_frames(tmp_path):
    path = make_clip(tmp_path / "edit.mp4", [t - 0.5 for t in even(90)], noise=NOISE)
    expected = read_whole(path)
    found, count, agree = read_cut(path, 20)
    assert (found, agree) == (expected, True)
    assert count > 2


def test_a_turned_video_of_odd_pixels_is_the_same_in_pieces(tmp_path):
    path = make_clip(
        tmp_path / "a.mkv",
        even(),
        size_wh=(90, 72),
        aspect=Fraction(4, 3),
        noise=np.tile(NOISE, (2, 2, 1))[:72, :90],
    )
    found, _, agree = read_cut(path, 20)
    assert (found, agree) == (read_whole(path), True)


def test_a_keyframe_that_is_none_is_seen_at_the_seam(tmp_path):
    """With gradual refresh, pictures after such a keyframe are complete only some frames later."""
    if "libx264" not in av.codecs_available:
        pytest.skip("this PyAV cannot write H.264")
    path = encode(
        tmp_path / "a.mp4", even(90), "libx264", **{"x264-params": "intra-refresh=1:keyint=20:bframes=0"}
    )
    _, index = read_index(path)
    if index is None or len(index.keys) < 3:
        pytest.skip("this x264 marks no keyframes for gradual refresh")
    expected = read_whole(path)
    found, _, agree = read_cut(path, 20)
    assert (found, agree) == (expected, True), "it was entered earlier"
    facts, index = read_index(path)
    first = index.times[40]
    late = Piece(first, index.times[60], index.keys[bisect_right(index.keys, first) - 1 :][:1])
    with PieceReader(path, late, facts) as reader, pytest.raises(PieceError):
        list(reader)


def test_seams_tell_frames_that_differ(tmp_path, monkeypatch):
    """As a decoder would leave them that was entered at a keyframe which is none."""
    path = encode(tmp_path / "a.mkv", even(), "mpeg4", g=10)
    ordinary = PieceReader._enter

    def spoilt(self, first):
        for number, image in enumerate(ordinary(self, first)):
            yield image
            if number == 0:
                self._sides = (self._sides[0] - 2, self._sides[1])

    monkeypatch.setattr(PieceReader, "_enter", spoilt)
    found, _, agree = read_cut(path, 15)
    assert found != read_whole(path)
    assert not agree


def test_damaged_and_odd_files_have_no_index(tmp_path):
    path = encode(tmp_path / "a.mkv", even(), "mpeg4")
    content = path.read_bytes()
    assert read_index(path)[1] is not None
    path.write_bytes(content[: len(content) // 2])
    assert read_index(path)[1] is None
    bframes = encode(tmp_path / "a.avi", even(), "mpeg4", bf=2)
    if read_index(bframes)[1] is not None:
        found, _, agree = read_cut(bframes, 15)
        assert (found, agree) == (read_whole(bframes), True)


def test_damage_within_a_piece_is_told(tmp_path):
    path = encode(
        tmp_path / "a.mkv", even(), "libx264" if "libx264" in av.codecs_available else "mpeg4", g=10
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 600] = np.random.default_rng(0).integers(0, 255, 600, np.uint8).tobytes()
    path.write_bytes(content)
    if read_index(path)[1] is None:
        return
    found, _, agree = read_cut(path, 15)
    assert not agree or found == read_whole(path)


def test_what_is_not_there_is_an_error(tmp_path):
    path = encode(tmp_path / "a.mkv", even(), "mpeg4", g=10)
    facts, index = read_index(path)
    (_, piece), *_ = cut(index, 15)[1:2]
    wrong = type(piece)(piece.first + 1, piece.end, piece.keys)
    with PieceReader(path, wrong, facts) as reader, pytest.raises(PieceError, match="expected a frame at"):
        list(reader)
    beyond = type(piece)(piece.first, index.times[-1] + 1000, piece.keys)
    with PieceReader(path, beyond, facts) as reader, pytest.raises(PieceError, match="ends before"):
        list(reader)
    nowhere = type(piece)(piece.first, piece.end, ())
    with PieceReader(path, nowhere, facts) as reader, pytest.raises(PieceError, match="no keyframe"):
        list(reader)


def test_short_videos_are_whole(tmp_path):
    path = encode(tmp_path / "a.mkv", even(20), "mpeg4")
    _, index = read_index(path)
    assert cut(index, 14) == [(0, WHOLE)]
    assert [start for start, _ in cut(index, 5, 8)] == [0]
    assert [
        start for start, _ in cut(read_index(encode(tmp_path / "b.mkv", even(), "mpeg4", g=1000))[1], 9, 4)
    ] == [0, 12, 24, 36, 48]
