"""Streams in a process of their own, with the network that looks at them; what they send is JSON, never pickles."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from ehrpose.media.live import LiveOptions, LiveSource, LiveSources, SourceSpec

# Time between two messages with counts, seconds; they also tell whether the server still listens.
EACH_S = 1.0


def run(
    pipe: Connection, opener: Callable[[], Any], specs: Sequence[Sequence[str]], options: LiveOptions
) -> None:
    """Look at streams until all have ended, or the other side has closed the pipe; runs in the process.

    Args:
        pipe: Gets messages: ``{"kind": "people" | "state" | "stats", "source": name, "data": {...}}``.
        opener: Opens the network.
        specs: Name and address of each source.
        options: Time limits.
    """
    line, done = threading.Lock(), threading.Event()

    def send(kind: str, source: str, data: dict[str, Any]) -> None:
        message = json.dumps({"kind": kind, "source": source, "data": data}).encode()
        with line:
            pipe.send_bytes(message)

    def tell(source: LiveSource, state: str, reason: str) -> None:
        with contextlib.suppress(OSError):  # the counts find out that nobody listens
            send("state", source.name, {"state": state, "reason": reason, "address": source.address})

    def count(sources: LiveSources) -> None:
        while not done.wait(EACH_S):
            try:
                for source in sources.sources:
                    send("stats", source.name, source.stats.to_dict())
            except OSError:
                os._exit(1)  # the server has ended; nothing is written here

    from ehrpose.inferencers.inferencer import PoseInferencer

    try:
        inferencer = PoseInferencer(opener())
        sources = LiveSources([SourceSpec(name, address) for name, address in specs], options, tell)
        counter = threading.Thread(target=count, args=(sources,), name="stats", daemon=True)
        counter.start()
        for result in inferencer.watch(sources, tracker=True):
            send("people", result.source, result.to_dict())
        for source in sources.sources:
            send("stats", source.name, source.stats.to_dict())
    except OSError:
        return
    finally:
        done.set()
