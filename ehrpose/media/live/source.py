"""A source that is read in a thread of its own, and opened again when it is lost."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple, Type

import numpy as np

from ehrpose.media.facts import load_av
from ehrpose.media.live.addresses import SourceSpec, is_address, mask, scrub
from ehrpose.media.live.backoff import Backoff
from ehrpose.media.live.opening import LiveOptions, Picture, Reader, open_reader
from ehrpose.media.live.stats import StreamStats

CONNECTING, LIVE, STALLED = "connecting", "live", "stalled"
RECONNECTING, ENDED, FAILED = "reconnecting", "ended", "failed"
STATES = (CONNECTING, LIVE, STALLED, RECONNECTING, ENDED, FAILED)
# Errors of PyAV that trying again does not cure, unless the stream was live before: a wrong password, no such page.
_FINAL = ("HTTPUnauthorizedError", "HTTPForbiddenError", "HTTPNotFoundError", "HTTPBadRequestError",
          "ProtocolNotFoundError")  # fmt: skip
# How often a file may break off at the same place.
_MAX_STUCK = 3
# How long threads are waited for at the end, seconds.
_LINGER_S = 1.0

Tell = Callable[["LiveSource", str, str], None]


@dataclass
class LiveFrame:
    """The newest picture of a source.

    Attributes:
        source: Where it comes from.
        index: Number of the picture in the source, from 0; those that were dropped count.
        arrived: When its data came, of a file when it was taken, seconds of the monotonic clock.
        time: Seconds since the source's first picture, for files on their own clock.
    """

    source: LiveSource
    index: int
    arrived: float
    time: float
    _picture: Picture

    def image(self) -> np.ndarray:
        """Return the picture, (H, W, 3) uint8 BGR."""
        return self._picture.image()

    @property
    def unix_time(self) -> float:
        """When its data came, seconds since 1970, UTC."""
        return time.time() - (time.monotonic() - self.arrived)


class LiveSource:
    """A stream, camera or video file. Its thread keeps the newest picture only; the pictures of a file wait instead.

    Args:
        spec: Name and address.
        options: Time limits; None takes the defaults.
        tell: Called with the source, its new state and a sentence about it, without passwords; from any thread.
        changed: Notified when there is a picture or the state has changed; shared by sources that are waited for
            together.

    Attributes:
        name: Its name in results.
        address: Its address with passwords masked, for messages.
        stats: Counts.
        error: A bug in its thread; raised by ``LiveSources``.
        fps: Frames per second that it states.
    """

    def __init__(
        self,
        spec: SourceSpec,
        options: Optional[LiveOptions] = None,
        tell: Optional[Tell] = None,
        changed: Optional[threading.Condition] = None,
    ):
        self.name, self.address = spec.name, mask(spec.address)
        self.options = options or LiveOptions()
        self.stats = StreamStats()
        self.error: Optional[BaseException] = None
        self.fps = Reader.fps
        self._raw = spec.address
        self._tell, self._changed = tell, changed or threading.Condition()
        self._slot: Optional[LiveFrame] = None
        self._stopped = threading.Event()
        self._state, self._reason = CONNECTING, ""
        self._seen = self._zero = time.monotonic()
        self._waits = self._was_live = False
        # Of a file: how far it was read, and attempts in a row that came no further.
        self._position, self._stuck = 0.0, 0
        self._thread = threading.Thread(target=self._run, name=f"stream-{self.name}", daemon=True)

    def __repr__(self) -> str:
        return f"LiveSource({self.name!r}, {self.address!r}, {self._state})"

    @property
    def state(self) -> Tuple[str, str]:
        """One of ``STATES``, and the reason for it in words, without passwords."""
        return self._state, self._reason

    @property
    def is_over(self) -> bool:
        """Whether no more pictures come: it ended, failed or was closed."""
        return self._slot is None and (self._state in (ENDED, FAILED) or self._stopped.is_set())

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self) -> Optional[LiveFrame]:
        """Return the newest picture, each once; None if there is no new one."""
        with self._changed:
            frame, self._slot = self._slot, None
            if frame is not None and self._waits:
                frame.arrived = self._seen = time.monotonic()  # until now it waited for us
                self._changed.notify_all()
        return frame

    def look(self) -> None:
        """Find out whether the stream stands still; to be called now and then."""
        with self._changed:
            quiet = time.monotonic() - self._seen
            if self._state != LIVE or self._slot is not None or quiet < self.options.stall_s:
                return
            self._state, self._reason = STALLED, f"no picture for {quiet:.0f} s"
        self._report(STALLED, self._reason)

    def close(self, linger_s: float = _LINGER_S) -> None:
        """End the thread. One that FFmpeg or a driver holds is left behind; it ends at its time-out.

        Args:
            linger_s: How long to wait for it, seconds.
        """
        self._stopped.set()
        with self._changed:
            self._slot = None
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(linger_s)

    def _run(self) -> None:
        backoff = Backoff(self.options.first_delay, self.options.max_delay)
        try:
            while not self._stopped.is_set():
                reason = self._attempt(backoff)
                if reason is None or self._stopped.is_set():
                    self._set(ENDED, "closed" if self._stopped.is_set() else "")
                    return
                if self.options.max_retries is not None and backoff.attempts >= self.options.max_retries:
                    self._set(FAILED, f"{reason} (given up after {backoff.attempts} more attempts)")
                    return
                delay = backoff.next()
                self.stats.reconnects += 1
                self._set(RECONNECTING, f"{reason}; next attempt in {delay:.1f} s")
                self._stopped.wait(delay)
        except _FinalError as error:
            self._set(FAILED, str(error))
        except BaseException as error:  # a bug: raised in the thread that takes the pictures
            self.error = error
            self._set(FAILED, type(error).__name__)

    def _attempt(self, backoff: Backoff) -> Optional[str]:
        """Open and read the source; return why it was lost, None at its end."""
        if self._state != RECONNECTING:
            self._set(CONNECTING, "")
        reader, position = None, self._position
        try:
            reader = open_reader(self._raw, self.options, position)
            self.fps, self._waits = reader.fps, reader.waits
            self._read(reader, backoff)
            return None
        except _errors() as error:
            reason = self._reason_of(error)
            if reader is not None and self._waits:
                self._stuck = 0 if self._position > position else self._stuck + 1
            if self._is_hopeless(error):
                raise _FinalError(reason) from None
            return reason
        finally:
            if reader is not None:
                reader.close()

    def _is_hopeless(self, error: BaseException) -> bool:
        """Whether opening the source again does not help."""
        if not is_address(self._raw):  # a camera can come back, a file that is damaged not
            return self._waits or not self._was_live
        return self._stuck >= _MAX_STUCK or (not self._was_live and type(error).__name__ in _FINAL)

    def _read(self, reader: Reader, backoff: Backoff) -> None:
        began, broken = time.monotonic(), self.stats.broken
        for picture in reader.pictures(self._stopped.wait):
            self.stats.broken = broken + reader.num_broken
            if self._stopped.is_set():
                return
            self._put(picture)
            if time.monotonic() - began > self.options.steady_s:
                backoff.reset()
        self.stats.broken = broken + reader.num_broken

    def _put(self, picture: Picture) -> None:
        with self._changed:
            while self._waits and self._slot is not None and not self._stopped.is_set():
                self._changed.wait(0.5)
            if self._stopped.is_set():
                return
            if self._slot is not None:
                self.stats.dropped += 1
            if not self._was_live:
                self._zero, self._was_live = picture.arrived, True
            seconds = picture.arrived - self._zero if picture.time is None else picture.time
            self._position = max(self._position, picture.time or 0.0)
            self._slot = LiveFrame(self, self.stats.read, picture.arrived, seconds, picture)
            self.stats.read += 1
            self._seen = time.monotonic()
            is_new = self._state != LIVE
            self._state, self._reason = LIVE, ""
            self._changed.notify_all()
        if is_new:
            self._report(LIVE, "")

    def _set(self, state: str, reason: str) -> None:
        with self._changed:
            self._state, self._reason = state, reason
            self._changed.notify_all()
        self._report(state, reason)

    def _report(self, state: str, reason: str) -> None:
        if self._tell is not None:
            self._tell(self, state, reason)

    def _reason_of(self, error: BaseException) -> str:
        if type(error).__name__ == "ExitError":
            return f"no data within {self.options.read_s:g} s" if self._was_live else "no answer in time"
        text = str(getattr(error, "strerror", None) or error)
        return scrub(text, self._raw)


def _errors() -> Tuple[Type[BaseException], ...]:
    """Return what readers raise; some of PyAV's errors are no OSErrors."""
    try:
        from av import FFmpegError
    except ImportError:  # cameras need no PyAV
        return OSError, ValueError
    return OSError, ValueError, FFmpegError


class _FinalError(Exception):
    """The source cannot be opened, now or later."""


class LiveSources:
    """Sources that are read together, each in its own thread, from entering the ``with`` block on.

    Args:
        specs: Names and addresses.
        options: Time limits; None takes the defaults.
        tell: As for ``LiveSource``.

    Raises:
        ValueError: PyAV is not installed.
    """

    def __init__(
        self, specs: List[SourceSpec], options: Optional[LiveOptions] = None, tell: Optional[Tell] = None
    ):
        if any(is_address(spec.address) for spec in specs):
            load_av()
        self._changed = threading.Condition()
        self.sources = [LiveSource(spec, options, tell, self._changed) for spec in specs]
        self._turn = 0

    def take(self, most: int = 1, stop: Callable[[], Any] = bool) -> List[LiveFrame]:
        """Return the newest pictures of the sources whose turn it is, waiting for one.

        Args:
            most: Maximum number, each of another source.
            stop: Ends the waiting once it returns something true; asked a few times a second.

        Returns:
            Pictures; empty once all sources are over, or stopped.
        """
        while True:
            for source in self.sources:
                if source.error is not None:
                    raise source.error
                source.look()
            frames = [] if stop() else self._fresh(most)
            if frames or stop():
                return frames
            with self._changed:
                if all(source.is_over for source in self.sources):
                    return []
                if not any(source._slot is not None for source in self.sources):
                    self._changed.wait(0.2)

    def _fresh(self, most: int) -> List[LiveFrame]:
        frames: List[LiveFrame] = []
        count = len(self.sources)
        first = self._turn
        for step in range(count):
            frame = self.sources[(first + step) % count].take()
            if frame is not None:
                frames.append(frame)
                self._turn = (first + step + 1) % count
            if len(frames) == most:
                break
        return frames

    def close(self) -> None:
        """End all threads, as ``LiveSource.close``."""
        for source in self.sources:
            source._stopped.set()
        end = time.monotonic() + _LINGER_S
        for source in self.sources:
            source.close(max(0.0, end - time.monotonic()))

    def __enter__(self) -> LiveSources:
        for source in self.sources:
            source.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
