"""Small videos with given times, made without the package's own writer."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from ehrpose.media.scheduling import kept_scheduling

RATE = 48000


def picture(level, size_wh=(64, 48)):
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


def make_clip(
    path,
    times,
    *,
    hint=30,
    sounds=(),
    size_wh=(64, 48),
    flash=None,
    codec="mpeg4",
    aspect=None,
    noise=None,
    **options,
):
    """Write grey pictures, shown at ``times``, white from ``flash`` on; in the header ``hint`` as the rate.

    Args:
        path: The file.
        times: Seconds, one per picture.
        hint: Rate that the header states.
        sounds: (start, end, beep, codec) of each sound track, seconds: a tone from ``beep`` on.
        size_wh: Size of the pictures.
        flash: Time of the first white picture; None: none.
        codec: Encoder of the pictures.
        aspect: Width of a pixel through its height.
        noise: A picture that is shown instead, shifted each time.
        options: Options of the format.
    """
    # AVI and MPEG-2 have evenly spaced frames only.
    ticks = hint if str(path).endswith((".avi", ".mpg")) else 10000
    with av.open(str(path), "w", options={key: str(value) for key, value in options.items()}) as file:
        video = file.add_stream(codec, rate=hint)
        video.width, video.height = size_wh
        video.pix_fmt = {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        video.codec_context.time_base = Fraction(1, ticks)
        if codec != "libvpx":  # pictures of even quality
            video.codec_context.options = {"flags": "+qscale", "global_quality": "590"}
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        with kept_scheduling():
            video.codec_context.open()
        tracks = []
        for start, end, beep, name in sounds:
            track = file.add_stream(name, rate=RATE)
            track.codec_context.layout, track.codec_context.bit_rate = "mono", 128_000
            tracks.append((track, start, end, beep))
        packets = []
        for time in times:
            white = flash is not None and time >= flash - 1e-6
            image = (
                picture(255 if white else 60, size_wh) if noise is None else np.roll(noise, len(packets), 1)
            )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            frame = frame.reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = round(time * ticks), Fraction(1, ticks)
            packets += video.encode(frame)
        packets += video.encode(None)
        for track, start, end, beep in tracks:
            at = start + np.arange(round((end - start) * RATE)) / RATE
            tone = np.where(at >= beep, 0.5 * np.sin(2 * np.pi * 1000 * at), 0).astype(np.float32)
            for begin in range(0, len(tone), 1024):
                frame = av.AudioFrame.from_ndarray(tone[None, begin : begin + 1024], "fltp", "mono")
                frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                frame.pts = round(start * RATE) + begin
                packets += track.encode(frame)
            packets += track.encode(None)
        packets.sort(key=lambda packet: float(packet.dts * packet.time_base))
        file.mux(packets)
    return path


def flash_and_beep(path, track=0):
    """Return when the first white picture is shown and when the tone begins, seconds on the file's clock."""
    flash = beep = None
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            if flash is None and frame.to_ndarray(format="gray").mean() > 150:
                flash = frame.time
    with av.open(str(path)) as file:
        for frame in file.decode(audio=track):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0].astype(np.float32)) > 0.1)
            if beep is None and len(loud):
                beep = frame.time + loud[0] / frame.sample_rate
    return flash, beep


def tracks_of(path):
    """Return the duration of each sound track, seconds."""
    with av.open(str(path)) as file:
        ends = {stream.index: 0.0 for stream in file.streams.audio}
        for packet in file.demux():
            if packet.size and packet.stream.index in ends:
                ends[packet.stream.index] = float((packet.pts + packet.duration) * packet.time_base)
    return list(ends.values())
