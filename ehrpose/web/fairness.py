"""A model's queue that no client can fill for the others: who waits takes turns by client, not by photo."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from ehrpose.web.limits import BusyError


class FairLock:
    """A lock that clients take in turns: one who asks often waits for one photo of each other client between his.

    Without the client, as ``async with lock``, it is one more client.
    """

    def __init__(self) -> None:
        self._is_held = False
        # Clients in the order of their turns, each with those who wait for it, in the order in which they came.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._is_held

    async def acquire(self, client: str = "") -> None:
        """Wait for the client's turn."""
        if not self._is_held:
            self._is_held = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came at the same moment
                self.release()
            else:
                self._forget(client, turn)
            raise

    def release(self) -> None:
        """Let the next client have it."""
        while self._waiting:
            client, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns  # behind the other clients
            if not turn.done():
                turn.set_result(None)
                return
        self._is_held = False

    def _forget(self, client: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(client)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[client]

    async def __aenter__(self) -> FairLock:
        await self.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()


class Places:
    """Places in a queue. As many more as there are for all are kept for clients that have none.

    Args:
        most: Number of places.
        what: What has them, in messages.
    """

    def __init__(self, most: int, what: str):
        self.most, self.what = most, what
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._held.total()

    @contextmanager
    def take(self, client: str) -> Iterator[None]:
        """Hold a place while the context lasts.

        Raises:
            BusyError: There is none for this client.
        """
        most = self.most if self._held[client] else 2 * self.most
        if len(self) >= most:
            raise BusyError(
                f"{len(self) - 1} photos are already waiting for {self.what}: try again in a moment"
            )
        self._held[client] += 1
        try:
            yield
        finally:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
