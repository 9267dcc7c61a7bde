"""Copy the sound of the input video into the output video, at the time of its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ehrpose.media.facts import open_container
from ehrpose.media.joints import Joints, on_one_clock

# Encoder and its channels. AVI has no times, so its sound must be re-encoded to begin with the pictures.
_ENCODERS = {"avi": ("libmp3lame", 2)}
_ENCODER = ("aac", 8)
# What a format takes as it is; Matroska takes everything that PyAV says it takes.
_COPIED = {
    "mp4": ("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"),
    "mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"),
    "avi": (),
}
# Names of decoders that differ from their format's.
_DECODED = {"mp3float": "mp3", "libopus": "opus", "libvorbis": "vorbis"}
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
# Rates that both encoders take, Hz.
_RATES = (16000, 22050, 24000, 32000, 44100, 48000)


class Sound:
    """The sound tracks of a video, written into another one while that is written.

    A track is copied without re-encoding if the container supports it; one that is neither supported nor decodable is
    left out, and the others stay.

    Args:
        path: Video whose sound is copied.
        start: Start of the sound, seconds on the clock of ``path``.
        joints: Where that clock starts again, as of a VideoReader.

    Attributes:
        left_out: A line for each track that is left out.
    """

    def __init__(self, path: Path, start: float, joints: Joints | None = None):
        self._source, self._start, self._joints = open_container(path), start, joints or {}
        self.left_out: list[str] = []
        self._tracks: dict[int, _Track] = {}
        self._dropped = False
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None

    def attach(self, target: Any) -> None:
        """Add the tracks to a container before anything is written to it."""
        if self._dropped:
            return
        target.metadata.update(self._source.metadata)
        whole = self._start <= (self._source.start_time or 0) / 1e6
        for number, stream in enumerate(self._source.streams.audio, 1):
            try:
                if stream.codec_context is None:
                    raise ValueError("its format is unknown")
                kind = _Copied if _fits(stream, target) else _Encoded
                self._tracks[stream.index] = kind(number, stream, target, self._start, whole)
            except (ValueError, OSError) as error:  # PyAV's errors are among these
                self._leave_out(number, error)
        streams = [self._source.streams[index] for index in self._tracks]
        self._packets = on_one_clock(self._source.demux(streams), self._joints) if streams else iter(())
        self._waiting = self._next()

    def drop(self, reason: str) -> bool:
        """Leave all tracks out; return whether there were any."""
        had = bool(self._tracks)
        for track in self._tracks.values():
            self._leave_out(track.number, reason)
        self._tracks, self._waiting, self._dropped = {}, None, True
        return had

    def write_until(self, seconds: float) -> None:
        """Write the sound up to a time of the new video."""
        while self._waiting is not None and self._seconds(self._waiting) < seconds:
            self._write(self._tracks[self._waiting.stream.index], self._waiting)
            self._waiting = self._next()

    def finish(self, seconds: float) -> None:
        """Write the rest of the sound up to a time of the new video."""
        going = set(self._tracks)
        while self._waiting is not None and going:  # tracks may be interleaved badly: each has its own end
            index = self._waiting.stream.index
            if self._seconds(self._waiting) >= seconds:
                going.discard(index)
            elif index in going:
                self._write(self._tracks[index], self._waiting)
            self._waiting = self._next()
        for track in self._tracks.values():
            track.finish()
            if track.error is not None and not track.num_written:
                self._leave_out(track.number, track.error)
        self._source.close()

    def _leave_out(self, number: int, reason: object) -> None:
        self.left_out.append(f"sound track {number} is left out: {reason}")

    @staticmethod
    def _write(track: _Track, packet: Any) -> None:
        try:
            track.write(packet)
        except ValueError as error:  # damaged; a full disk is an OSError
            track.error = error

    def _next(self) -> Any:
        import av

        while True:
            try:
                packet = next(self._packets)
            except (StopIteration, av.FFmpegError):  # the end, or where the file was cut
                return None
            if packet.size and (packet.pts is not None or packet.dts is not None):
                return packet

    def _seconds(self, packet: Any) -> float:
        return _seconds(packet) - self._start


def _seconds(packet: Any) -> float:
    return float((packet.dts if packet.pts is None else packet.pts) * packet.time_base)


def _fits(stream: Any, target: Any) -> bool:
    """Whether a track can be copied into a container without re-encoding."""
    name = _DECODED.get(stream.codec_context.name, stream.codec_context.name)
    return name in _COPIED.get(target.format.name, target.supported_codecs)


class _Track:
    def __init__(self, number: int, source: Any, target: Any, start: float, whole: bool):
        self.number, self._target, self._start, self._whole = number, target, start, whole
        self.num_written = 0
        self.error: Exception | None = None

    def write(self, packet: Any) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Write what is left in the encoder."""


class _Copied(_Track):
    def __init__(self, number: int, source: Any, target: Any, start: float, whole: bool):
        super().__init__(number, source, target, start, whole)
        if hasattr(target, "add_stream_from_template"):
            self._stream = target.add_stream_from_template(source)
        else:  # PyAV 12, for Python 3.8
            self._stream = target.add_stream(template=source)
        self._stream.metadata.update(source.metadata)
        self._has_edits = target.format.name in ("mp4", "mov")

    def write(self, packet: Any) -> None:
        """Write a packet at its time; those before the pictures are dropped, but not a codec's lead-in."""
        when = packet.dts if packet.pts is None else packet.pts
        first = when - round(self._start / packet.time_base)
        # With an edit list, what is before 0 is decoded, but not played.
        end = first + (packet.duration or 0)
        if first < 0 and not (self._has_edits and (self._whole or end > 0)):
            return
        packet.pts = packet.dts = first
        packet.stream = self._stream
        self._target.mux(packet)
        self.num_written += 1


class _Encoded(_Track):
    def __init__(self, number: int, source: Any, target: Any, start: float, whole: bool):
        super().__init__(number, source, target, start, whole)
        import av

        codec, max_channels = _ENCODERS.get(target.format.name, _ENCODER)
        told = source.codec_context
        if not told.sample_rate or not told.channels:
            raise ValueError("it cannot be decoded")
        self._rate = told.sample_rate if told.sample_rate in _RATES else 48000
        channels = told.channels
        self._layout = _LAYOUTS[channels - 1] if channels <= max_channels else "stereo"
        trial = av.CodecContext.create(
            codec, "w"
        )  # a stream that was added stays, whether it can be opened or not
        self._open(trial)
        self._stream = target.add_stream(codec, rate=self._rate)
        self._stream.metadata.update(source.metadata)
        self._open(self._stream.codec_context)
        self._graph: Any = None

    def _open(self, encoder: Any) -> None:
        encoder.sample_rate, encoder.layout = self._rate, self._layout
        encoder.format = encoder.codec.audio_formats[0]
        encoder.time_base = Fraction(1, self._rate)
        encoder.open()

    def write(self, packet: Any) -> None:
        for frame in packet.decode():
            if self._graph is None:
                self._graph = self._filters(frame)
            self._graph.push(frame)
            self._pull()

    def finish(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._pull()
            self._mux(self._stream.encode(None))

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            if packet.pts is None or packet.pts >= 0 or self._target.format.name != "avi":
                self.num_written += 1
                self._target.mux(packet)  # AVI would delay the pictures by an encoder's lead-in

    def _filters(self, frame: Any) -> Any:
        """Return a graph that cuts the sound at the start and fills gaps with silence."""
        import av

        graph = av.filter.Graph()
        nodes = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            ),
            graph.add("atrim", f"start={self._start:.6f}"),
            graph.add("asetpts", f"PTS-{self._start:.6f}/TB"),
            graph.add("aresample", f"{self._rate}:async=1:first_pts=0"),
            graph.add("aformat", f"channel_layouts={self._layout}"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes)
        graph.configure()
        return graph

    def _pull(self) -> None:
        import av

        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            self._mux(self._stream.encode(frame))
