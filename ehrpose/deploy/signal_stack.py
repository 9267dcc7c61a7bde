"""Preserving a thread's alternate signal stack (no torch, Python 3.8)."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import Iterator


class _Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Restore this thread's alternate signal stack on exit.

    OpenVINO sets its own when it compiles a network and unmaps it with the network. If that happens out of order, the
    next signal with a handler (a child exits, Ctrl-C) ends the process with a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    known = sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            sigaltstack(ctypes.byref(before), None)
