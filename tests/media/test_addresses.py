from __future__ import annotations

import pytest

from ehrpose.media.live import SourceSpec, mask, parse_sources
from ehrpose.media.live.addresses import SCHEMES, scrub
from ehrpose.media.live.backoff import Backoff
from ehrpose.media.live.stats import StreamStats

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://cam.lan:554/live", "rtsp://cam.lan:554/live"),
        (f"rtsp://admin:{SECRET}@cam.lan/live", "rtsp://***@cam.lan/live"),
        (f"rtsp://{SECRET}@cam.lan/live", "rtsp://***@cam.lan/live"),
        (f"rtsp://admin:{SECRET}@x/?#@cam.lan/live", "rtsp://***@cam.lan/live"),
        (f"rtsp://admin:a/{SECRET}@cam.lan/live", "rtsp://***@cam.lan/live"),
        ("rtsp://cam.lan/real?channel=1&subtype=0", "rtsp://cam.lan/real?channel=1&subtype=0"),
        (f"http://cam.lan/x?token={SECRET}&n=2", "http://cam.lan/x?token=***&n=2"),
        (f"http://cam.lan/x?n=2&Access_Key={SECRET}", "http://cam.lan/x?n=2&Access_Key=***"),
        ("http://cam.lan/x?pwd=1", "http://cam.lan/x?pwd=***"),
        (f"http://cam.lan/x?a={SECRET * 3}", "http://cam.lan/x?a=***"),
        (f"http://cam.lan/x?{SECRET * 3}", "http://cam.lan/x?***"),
        (f"http://cam.lan/x?n=2;sig={SECRET}", "http://cam.lan/x?n=2;sig=***"),
        (f"http://cam.lan/x#{SECRET}", "http://cam.lan/x#***"),
        (f"rtsp://1.2.3.4:554/user=admin&password={SECRET}&channel=1", "rtsp://1.2.3.4:554/user=***&password=***&channel=1"),
        (f"rtsp://1.2.3.4/user=admin_password={SECRET}_channel=1", "rtsp://1.2.3.4/user=***"),
        ("webcam:0", "webcam:0"),
        ("video.mp4", "video.mp4"),
    ],
)  # fmt: skip
def test_what_is_printed_of_an_address(address, shown):
    assert mask(address) == shown
    assert SECRET not in mask(address)
    assert mask(shown) == shown


def test_addresses_in_other_texts_are_masked():
    address = f"rtsp://u:{SECRET}@cam/x"
    said = f"cannot open '{address}': redirected to http://v:{SECRET}@other/y?token={SECRET} (bad)"
    masked = scrub(said, address)
    assert SECRET not in masked
    assert masked == ("cannot open 'rtsp://***@cam/x': redirected to http://***@other/y?token=*** (bad)")


def test_a_specification_does_not_print_its_password():
    (spec,) = parse_sources([f"door=rtsp://u:{SECRET}@cam/x"])
    assert spec == SourceSpec("door", f"rtsp://u:{SECRET}@cam/x")
    assert SECRET not in repr(spec) + str([spec]) + f"{spec}"


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a clip.mp4").touch()
    (tmp_path / "b=c.mp4").touch()
    words = [
        "rtsp://u:p@cam.lan:554/a?x=1", "http://cam.lan/b", "door=http://h/x=1", "webcam", "1", "webcam:2",
        "rtsp://[fe80::1]:554/x", "a clip.mp4", "b=c.mp4", "udp://:5000",
    ]  # fmt: skip
    assert [spec.name for spec in parse_sources(words)] == [
        "cam.lan", "cam.lan-2", "door", "webcam0", "webcam1", "webcam2", "fe80-1", "a-clip", "b-c", "udp",
    ]  # fmt: skip


def test_a_text_file_of_sources(tmp_path):
    file = tmp_path / "sources.txt"
    file.write_text("\ufeff# cameras\n\ndoor=rtsp://u:p@a/1\n  http://b/2  \n", encoding="utf-8")
    assert [tuple(spec) for spec in parse_sources([f"@{file}", "webcam:3"])] == [
        ("door", "rtsp://u:p@a/1"),
        ("b", "http://b/2"),
        ("webcam3", "webcam:3"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no source was given"),
        (["ftp://a/b"], "ftp:// is not supported: expected rtsp://"),
        (["rtsp://"], "rtsp:// has no host"),
        (["rtsp://u:s3cr3t@"], r"rtsp://\*\*\*@ has no host"),
        (["a=rtsp://x", "a=rtsp://y"], "two sources are named 'a'"),
        (["webcam:one"], "expected 'webcam:N'"),
    ],
)
def test_what_is_refused(words, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_sources(words)
    assert SECRET not in str(caught.value)


def test_an_unsupported_scheme_says_what_is_supported():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_sources(["gopher://host/x"])
    for scheme in SCHEMES:
        assert f"{scheme}://" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got none"),
        (b"# only\n", "got none"),
        (b"\xff\xfe\x00\xff", "UTF-8"),
        (b"a" * 1_000_001, "1000001 bytes"),
    ],
)
def test_bad_text_files(tmp_path, content, message):
    file = tmp_path / "sources.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        parse_sources([f"@{file}"])


def test_missing_files():
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        parse_sources(["@nothing.txt"])
    with pytest.raises(FileNotFoundError, match=r"no such video: nothing\.mp4"):
        parse_sources(["nothing.mp4"])


def test_waits_double_up_to_a_limit_and_begin_again():
    backoff = Backoff(0.5, 30)
    waits = [backoff.next() for _ in range(12)]
    for wait, middle in zip(waits, [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]):
        assert 0.8 * middle <= wait <= min(30, 1.2 * middle)
    assert len(set(waits[:6])) == 6, "with jitter"
    backoff.reset()
    assert backoff.next() <= 0.6
    for _ in range(5000):
        assert backoff.next() <= 30


def test_counts_and_latencies():
    stats = StreamStats()
    assert stats.latency is None
    assert stats.to_dict()["latency_ms"] is None
    for latency in range(1, 101):
        stats.add(latency / 1000, 2)
    assert stats.latency == pytest.approx((0.0505, 0.09505))
    assert (stats.frames, stats.people) == (100, 200)
    stats.broken, stats.reconnects, stats.dropped = 3, 1, 7
    assert stats.line(12.34) == (
        "100 frames, 7 dropped, 12.3 fps, latency 50 ms (95 %: 95 ms), 3 broken, 1 reconnect"
    )
