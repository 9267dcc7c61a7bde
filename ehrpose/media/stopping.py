"""Ctrl-C and kill as a wish to end soon, so that what is done can be kept whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar


class StopRequest:
    """Within the ``with`` block the first Ctrl-C (SIGINT), or SIGTERM, is only noted; a second ends at once.

    Outside of the main thread, which alone gets signals, nothing is changed.

    Attributes:
        signal: Number of the signal that came; None as long as there is none.
    """

    _active: ClassVar[list[StopRequest]] = []

    def __init__(self) -> None:
        self.signal: int | None = None
        self._former: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    @classmethod
    def is_pending(cls) -> bool:
        """Whether a stop was asked for in any ``with`` block that runs: for whoever waits inside of one."""
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
