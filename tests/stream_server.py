"""Real servers of streams on this machine, which can be killed, stalled and made to send rubbish."""

from __future__ import annotations

import base64
import contextlib
import http.server
import re
import socket
import socketserver
import tempfile
import threading
import time
from pathlib import Path

import av
import cv2
import numpy as np

# Time between pictures, seconds.
STEP = 0.03
BOUNDARY = "frame"


def level_of(number):
    """Return the grey of a picture by its number, which is read back to tell pictures apart."""
    return 20 + 40 * (number % 6)


def jpeg(number, size_wh=(64, 48)):
    return cv2.imencode(".jpg", np.full((size_wh[1], size_wh[0], 3), level_of(number), np.uint8))[1].tobytes()


def clip(seconds=1.0, size_wh=(64, 48), kind="mpegts", fps=25, codec="mpeg2video", first=0):
    """Return a video of grey pictures as bytes; of a piece of a stream, ``first`` is its first picture's number."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip"  # MP4 with its index at the front needs a real file
        _write_clip(file, seconds, size_wh, kind, fps, codec, first)
        return file.read_bytes()


def _write_clip(file, seconds, size_wh, kind, fps, codec, first):
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"movflags": "faststart"} if kind == "mp4" else {"mpegts_copyts": "1"}
    with av.open(str(file), "w", format=kind, options=options) as container:
        video = container.add_stream(codec, rate=fps)
        video.width, video.height, video.pix_fmt = *size_wh, pixels
        video.codec_context.gop_size = 5
        for number in range(first, first + round(seconds * fps)):
            picture = np.full((size_wh[1], size_wh[0], 3), level_of(number), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=pixels)
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def continuous(piece, counters):
    """Return a piece of MPEG-TS with its packets numbered after those of the pieces before.

    Args:
        piece: Whole packets of 188 bytes.
        counters: Next number by program, changed in place.
    """
    packets = bytearray(piece)
    for at in range(0, len(packets), 188):
        program = int.from_bytes(packets[at + 1 : at + 3], "big") & 0x1FFF
        if packets[at + 3] & 0x10:  # has a payload
            packets[at + 3] = (packets[at + 3] & 0xF0) | counters.get(program, 0)
            counters[program] = (counters.get(program, 0) + 1) % 16
    return bytes(packets)


class LoopbackServer:
    """A server of this machine that can be killed and started again.

    Attributes:
        port: Where it listens; kept over ``kill`` and ``start``.
        flowing: Cleared, the streams stand still.
        handler: Class that answers; its ``server_of_test`` is the server.
    """

    handler = None

    def __init__(self):
        self.port, self._server, self._open = 0, None, set()
        self.flowing = threading.Event()
        self.flowing.set()

    def start(self):
        owner = self

        class Handler(self.handler):
            server_of_test = owner

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def kill(self):
        """Cut all connections and stop listening."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        server.server_close()
        self._thread.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.flowing.set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()


class StreamServer(LoopbackServer):
    """An HTTP server with ``/mjpeg``, ``/live.m3u8``, ``/clip.mp4`` and ``/stream.ts``.

    Attributes:
        size_wh: Size of the pictures of ``/mjpeg``.
        rubbish: Number of damaged parts to send next.
        credentials: (user, password) that requests must have; None: all are answered.
        seen: Paths that were asked for.
        cut: Bytes after which ``/clip.mp4`` breaks off once.
        pieces: Number of pieces of the playlist, which then has an end; None: it goes on.
        playlist: Text of it instead.
    """

    def __init__(self):
        super().__init__()
        self.size_wh, self.rubbish, self.credentials, self.cut = (64, 48), 0, None, None
        self.clip = self.pieces = self.playlist = None
        self.seen = []
        self.counters = {}  # after each piece of the playlist
        self.began = time.monotonic()

    def url(self, path, credentials=""):
        return f"http://{credentials}127.0.0.1:{self.port}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server_of_test: StreamServer

    def log_message(self, *_):
        """Tests print nothing."""

    def setup(self):
        super().setup()
        self.server_of_test._open.add(self.connection)

    def finish(self):
        self.server_of_test._open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self):
        owner = self.server_of_test
        path = self.path.partition("?")[0]
        owner.seen.append(self.path)
        if owner.credentials is not None and not self._is_known(owner.credentials):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        answer = {"/mjpeg": self._mjpeg, "/stream.ts": self._stream, "/clip.mp4": self._clip,
                  "/live.m3u8": self._playlist, "/photo.jpg": self._photo}.get(path)  # fmt: skip
        with contextlib.suppress(OSError):
            if answer is not None:
                answer()
            elif path.startswith("/piece"):
                self._piece(int(re.findall(r"\d+", path)[0]))
            else:
                self.send_error(404)

    def _is_known(self, credentials):
        wanted = base64.b64encode(":".join(credentials).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {wanted}"

    def _begin(self, kind, **headers):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _pause(self):
        owner = self.server_of_test
        if not owner.flowing.wait(60) or owner._server is None:
            raise OSError
        time.sleep(STEP)

    def _mjpeg(self):
        owner, number = self.server_of_test, 0
        self._begin(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        while True:
            data = jpeg(number, owner.size_wh)
            if owner.rubbish:
                owner.rubbish -= 1
                data = data[:20] + bytes(200)
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            number += 1
            self._pause()

    def _stream(self):
        """Send MPEG-TS for ever, in real time, with rubbish between its packets if asked for."""
        owner, number, counters = self.server_of_test, 0, {}
        self._begin("video/mp2t")
        while True:
            piece = continuous(clip(0.4, owner.size_wh, first=number), counters)
            number += 10
            if owner.rubbish:
                owner.rubbish -= 1
                piece = piece[:400] + bytes(range(256)) * 8 + piece[700:]
            for at in range(0, len(piece), 1880):
                self.wfile.write(piece[at : at + 1880])
                self._pause()

    def _clip(self):
        owner = self.server_of_test
        data, first = owner.clip, 0
        asked = re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", ""))
        if asked:
            first = int(asked[1])
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        if owner.cut is not None and first < owner.cut:
            self.wfile.write(data[first : owner.cut])
            owner.cut = None
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(data[first:])

    def _photo(self):
        data = jpeg(0)
        self._begin("image/jpeg", Content_Length=str(len(data)))
        self.wfile.write(data)

    def _playlist(self):
        """Send the last pieces of 0.4 seconds; with ``pieces``, that many and the end."""
        owner = self.server_of_test
        now = int((time.monotonic() - owner.began) / 0.4)
        first = 0 if owner.pieces else max(0, now - 9)
        last = owner.pieces or now + 1
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, last):
            lines += ["#EXTINF:0.4,", f"piece{number}.ts"]
        lines += ["#EXT-X-ENDLIST"] if owner.pieces else []
        text = (owner.playlist or "\n".join([*lines, ""])).encode()
        self._begin("application/vnd.apple.mpegurl", Content_Length=str(len(text)))
        self.wfile.write(text)

    def _piece(self, number):
        owner = self.server_of_test
        counters = dict(owner.counters.get(number - 1, {}))
        data = continuous(clip(0.4, owner.size_wh, first=10 * number), counters)
        owner.counters[number] = counters
        self._begin("video/mp2t", Content_Length=str(len(data)))
        self.wfile.write(data)


StreamServer.handler = _Handler
