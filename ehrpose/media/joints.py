"""One clock for .ts and .mpg files whose own clock starts again: recordings that were joined or interrupted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Dict, List, Tuple

# Formats without a header, so that recordings may simply follow each other.
JOINED_FORMATS = ("mpegts", "mpeg")
# Steps in time that no recording has: back, and ahead of all its streams, seconds. FFmpeg's program has the latter too.
_BACK, _AHEAD = 1.0, 10.0

# Per index of a stream: its packets from this number on are shown this many seconds later.
Joints = Dict[int, List[Tuple[int, float]]]


class JointFinder:
    """Finds where the clock of a file starts again, from all of its packets in their order.

    Args:
        format_name: FFmpeg's name of the format; only ``JOINED_FORMATS`` have joints.

    Attributes:
        joints: Those found so far.
    """

    def __init__(self, format_name: str):
        self.joints: Joints = {}
        self._active = format_name in JOINED_FORMATS
        # Of each part between joints: what its clock lacks, and its latest time on its own clock.
        self._shifts, self._latest = [0.0], [float("-inf")]
        self._part_of: dict[int, int] = {}  # of each stream, as for the next two
        self._num_packets: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self._end = float("-inf")  # of what came before, on the common clock

    def move(self, packet: Any) -> None:
        """Put the next packet of the file on the common clock."""
        index, seconds = packet.stream.index, _shown(packet)
        number = self._num_packets.get(index, 0)
        self._num_packets[index] = number + 1
        if not self._active or seconds is None:
            return
        part = self._part_of.get(index, 0)
        newest = len(self._shifts) - 1
        if index not in self._last or self._is_joint(seconds, index, part):
            if index in self._last and part == newest:
                self._shifts.append(self._end - seconds)
                self._latest.append(float("-inf"))
                newest += 1
            if newest != part:
                part = self._part_of[index] = newest
                self.joints.setdefault(index, []).append((number, self._shifts[part]))
        self._last[index] = seconds
        self._latest[part] = max(self._latest[part], seconds)
        _move(packet, self._shifts[part])
        duration = float((packet.duration or 0) * packet.time_base)
        self._end = max(self._end, seconds + self._shifts[part] + duration)

    def _is_joint(self, seconds: float, index: int, part: int) -> bool:
        return seconds < self._last[index] - _BACK or seconds > self._latest[part] + _AHEAD


def on_one_clock(packets: Iterable[Any], joints: Joints) -> Iterator[Any]:
    """Yield the packets of any streams of a file, their times moved as its joints ask for."""
    num_packets: dict[int, int] = {}
    for packet in packets:
        index = packet.stream.index
        number = num_packets[index] = num_packets.get(index, -1) + 1
        _move(
            packet, next((shift for first, shift in reversed(joints.get(index, [])) if first <= number), 0.0)
        )
        yield packet


def _shown(packet: Any) -> float | None:
    """Return when a packet is shown, seconds; its place in the order of decoding may follow a joint late."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return float(stamp * packet.time_base) if stamp is not None and packet.time_base else None


def _move(packet: Any, seconds: float) -> None:
    if not seconds or not packet.time_base:
        return
    ticks = round(seconds / packet.time_base)
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks
