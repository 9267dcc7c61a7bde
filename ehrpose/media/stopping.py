"""Ctrl-C and SIGTERM as a request to stop soon, so that the output so far can be completed."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar


class StopRequest:
    """Within the ``with`` block the first Ctrl-C (SIGINT), or SIGTERM, is only recorded; a second one stops at once.

    Outside the main thread, the only one to receive signals, nothing changes.

    Attributes:
        signal: Number of the signal received; None if there was none.
    """

    _active: ClassVar[list[StopRequest]] = []

    def __init__(self) -> None:
        self.signal: int | None = None
        self._former: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    @classmethod
    def is_pending(cls) -> bool:
        """Whether a stop was requested in any active ``with`` block, for code that waits inside one."""
        return any(cls._active)

    def __enter__(self) -> StopRequest:
        self._active.append(self)
        if threading.current_thread() is threading.main_thread():
            self._former = {
                number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._active.remove(self)
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
