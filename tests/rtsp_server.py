"""A small RTSP server that sends MPEG-TS in RTP, interleaved in the connection (RFC 2326, RFC 2250)."""

from __future__ import annotations

import base64
import contextlib
import socketserver
import struct
import time

from stream_server import STEP, LoopbackServer, clip, continuous

_PACKETS = 7 * 188
_MPEG_TS = 33


class RtspServer(LoopbackServer):
    """Attributes as those of ``StreamServer``; any path is the stream."""

    def __init__(self):
        super().__init__()
        self.size_wh, self.rubbish, self.credentials, self.seen = (64, 48), 0, None, []

    def url(self, path="/cam", credentials=""):
        return f"rtsp://{credentials}127.0.0.1:{self.port}{path}"


class _Handler(socketserver.StreamRequestHandler):
    server_of_test: RtspServer

    def setup(self):
        super().setup()
        self.server_of_test._open.add(self.connection)

    def finish(self):
        self.server_of_test._open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self):
        with contextlib.suppress(OSError, ValueError):
            while True:
                method, headers = self._request()
                if not method:
                    return
                self._answer(method, headers)

    def _request(self):
        first = self.rfile.readline().decode()
        while first.startswith("$"):  # reports of the receiver come between the requests
            rest = first.encode()[1:] + self.rfile.read(max(0, 3 - len(first.encode()[1:])))
            self.rfile.read(max(0, struct.unpack(">BH", rest[:3])[1] - len(rest[3:])))
            first = self.rfile.readline().decode()
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        self.server_of_test.seen.append(first.strip())
        return first.split(" ")[0], headers

    def _answer(self, method, headers):
        owner = self.server_of_test
        if owner.credentials is not None and method != "OPTIONS":
            wanted = base64.b64encode(":".join(owner.credentials).encode()).decode()
            if headers.get("authorization") != f"Basic {wanted}":
                self._reply(headers, "401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"'])
                return
        if method == "OPTIONS":
            self._reply(headers, "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"])
        elif method == "DESCRIBE":
            sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
            sdp += f"m=video 0 RTP/AVP {_MPEG_TS}\r\na=control:track1\r\n"
            self._reply(headers, "200 OK", ["Content-Type: application/sdp"], sdp)
        elif method == "SETUP":
            transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
            self._reply(headers, "200 OK", [transport, "Session: 12345"])
        elif method == "PLAY":
            self._reply(headers, "200 OK", ["Session: 12345", "Range: npt=0.000-"])
            self._play()
        else:
            self._reply(headers, "200 OK", ["Session: 12345"])

    def _reply(self, headers, status, lines, body=""):
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', 0)}", *lines]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _play(self):
        owner, number, sequence, counters = self.server_of_test, 0, 0, {}
        while True:
            piece = continuous(clip(0.4, owner.size_wh, first=number), counters)
            number += 10
            if owner.rubbish:
                owner.rubbish -= 1
                piece = piece[:400] + bytes(range(256)) * 8 + piece[2448:]
            for at in range(0, len(piece), _PACKETS):
                if not owner.flowing.wait(60) or owner._server is None:
                    raise OSError
                payload = piece[at : at + _PACKETS]
                head = struct.pack(">BBHII", 0x80, _MPEG_TS, sequence % 65536, number * 3600 % 2**32, 7)
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(head) + len(payload)) + head + payload)
                sequence += 1
                time.sleep(2 * STEP)


RtspServer.handler = _Handler
