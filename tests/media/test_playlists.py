"""Files under a video's name that lead to other files or addresses are refused by their content, and by FFmpeg."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest
from clips import make_clip
from photo_files import encode

from ehrpose.media import VideoError, VideoReader, facts
from ehrpose.media.sound import Sound
from ehrpose.media.video import VIDEO_SUFFIXES

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n"
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period><AdaptationSet>
<Representation id="0" mimeType="video/mp4" bandwidth="1"><BaseURL>{0}</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""
PLAYLISTS = {
    "hls": HLS,
    "ffconcat": "ffconcat version 1.0\nfile {0}\n",
    "concat": "file '{0}'\nduration 1\n",
    "dash": DASH,
    "dash without a head": DASH.split("\n", 1)[1],
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "rtsp": "RTSPtext\nrtsp://127.0.0.1/{0}\n",
    "wmv": "[Reference]\nRef1={0}\n",
    "pls": "[playlist]\nFile1={0}\n",
    "asx": '<asx version="3.0"><entry><ref href="{0}"/></entry></asx>',
    "smooth": '<SmoothStreamingMedia MajorVersion="2"><!-- {0} --></SmoothStreamingMedia>',
    "smil": '<smil><body><video src="{0}"/></body></smil>',
    "address": "http://127.0.0.1/{0}\n",
    "comment first": "# a list of mine, höher\nfile {0}\n",
    "metadata": ";FFMETADATA1\ntitle={0}\n",
}
FORMS = {
    "plain": lambda text: text.encode(),
    "spaces": lambda text: b"\n \t\r\n" + text.encode(),
    "marked": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-be"),
    "capitals": lambda text: text.upper().encode(),
    "windows": lambda text: text.replace("\n", "\r\n").encode(),
    "with zeros after it": lambda text: text.encode() + bytes(5000),
}


@pytest.fixture
def target(tmp_path):
    """A good video that the playlists lead to."""
    return make_clip(tmp_path / "target.mp4", [i / 10 for i in range(5)])


@pytest.fixture
def asked():
    """The addresses that a local server was asked for; its own is the first."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = [f"http://127.0.0.1:{server.server_port}/marker.ts"]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_are_refused_before_pyav_sees_them(tmp_path, target, monkeypatch, kind, form):
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("PyAV saw it"))
    content = FORMS[form](PLAYLISTS[kind].format(target.name))
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(
        VideoError, match=r"clip\.mp4 is not a readable video: it is .*, which may lead to other files"
    ):
        VideoReader(path)
    with pytest.raises(ValueError, match="which may lead to other files"):
        Sound(path, 0)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("hls", "an HLS or M3U playlist"),
        ("ffconcat", "an ffconcat script"),
        ("sdp", "an SDP description"),
        ("address", "text"),
    ],
)
def test_the_message_names_the_kind(tmp_path, kind, named):
    (tmp_path / "clip.ts").write_text(PLAYLISTS[kind])
    with pytest.raises(VideoError, match=f"it is {named}, which"):
        VideoReader(tmp_path / "clip.ts")


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mpg", ".avi"])
@pytest.mark.parametrize("kind", ["hls", "ffconcat", "concat", "dash", "sdp", "wmv"])
def test_ffmpeg_opens_no_playlist_even_if_it_sees_one(tmp_path, target, asked, monkeypatch, kind, suffix):
    monkeypatch.setattr(facts, "_playlist", lambda head: None)
    for leads_to in (target.name, asked[0]):
        path = tmp_path / f"clip{suffix}"
        path.write_text(PLAYLISTS[kind].format(leads_to))
        with pytest.raises(VideoError, match="is not a readable video"):
            VideoReader(path)
    assert len(asked) == 1


@pytest.mark.parametrize("kind", ["hls", "ffconcat"])
def test_ffmpeg_asks_no_server_even_if_it_opens_a_playlist(tmp_path, asked, monkeypatch, kind):
    monkeypatch.setattr(facts, "_playlist", lambda head: None)
    monkeypatch.setattr(facts, "_FORMATS", "hls,concat,mpegts")
    path = tmp_path / "clip.ts"
    path.write_text(PLAYLISTS[kind].format(asked[0]))
    with pytest.raises(VideoError):
        list(VideoReader(path))
    assert len(asked) == 1


def test_pictures_and_patterns_of_names_are_no_videos(tmp_path):
    for i in range(3):
        (tmp_path / f"frame{i}.jpg").write_bytes(encode(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    for name in ("clip.mp4", "frame%d.mp4", "frame%d.jpg.avi"):
        (tmp_path / name).write_bytes((tmp_path / "frame0.jpg").read_bytes())
        with pytest.raises(
            VideoError, match="damaged, or not MP4, MOV, AVI, MKV, WebM, MPEG, TS, WMV or FLV"
        ):
            VideoReader(tmp_path / name)


def test_a_name_with_a_pattern_is_a_name(tmp_path):
    path = make_clip(tmp_path / "frame%03d.mp4", [0, 0.1])
    assert len(list(VideoReader(path))) == 2


CODECS = {
    ".webm": "libvpx",
    ".avi": "mjpeg",
    ".wmv": "wmv2",
    ".flv": "flv",
    ".mpg": "mpeg2video",
    ".mpeg": "mpeg1video",
}


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_every_suffix_of_a_video_is_opened(tmp_path, suffix):
    path, codec = tmp_path / f"a{suffix}", CODECS.get(suffix, "mpeg4")
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in range(5):
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.roll(noise, i, 1), format="bgr24")))
        file.mux(video.encode(None))
    assert len(list(VideoReader(path))) == 5


def test_a_file_that_is_too_short_is_named(tmp_path):
    path = make_clip(
        tmp_path / "a.ts", [i / 25 for i in range(5)], hint=25
    )  # too few bytes to find its streams
    with pytest.raises(VideoError, match=r"a\.ts is not a readable video: it ends too early"):
        VideoReader(path)


def test_pictures_of_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = make_clip(tmp_path / "a.mp4", [0, 0.1], size_wh=(64, 48))
    monkeypatch.setattr(facts, "MAX_PIXELS", 3000)
    with pytest.raises(VideoError, match=r"64 x 48 px is too large: the limit is 0\.003 megapixels"):
        VideoReader(path)


def test_the_decoder_has_the_limit_too(tmp_path):
    path = make_clip(tmp_path / "a.mp4", [0, 0.1], size_wh=(64, 48))
    container, stream = facts.open_video(path)
    with container:
        assert stream.codec_context.options["max_pixels"] == "200000000"
        stream.codec_context.options = {"max_pixels": "3000"}
        with pytest.raises(av.FFmpegError):
            next(container.decode(stream))
