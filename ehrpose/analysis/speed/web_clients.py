"""Photos per second and waiting times of the web server with several clients, one of them greedy.

The server is a program of its own, started as a user starts it. Each client has a loopback address of its own
(127.0.0.2, ...), as the server tells them apart by it. A client that gets 503 waits as ``Retry-After`` says.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from ehrpose.analysis.speed.web_load import generated_photo, server

_TIMEOUT_S = 120.0
# How long the greedy client waits after a 503, seconds.
_IMPATIENT_S = 0.05


@dataclass
class Client:
    """A client and what it saw.

    Attributes:
        name: What it is.
        address: Its address.
        parallel: Requests that it has open at the same time.
        is_patient: Whether it waits as long as ``Retry-After`` says.
        statuses: Answers by status.
        seconds: Time of each answer with people.
    """

    name: str
    address: str
    parallel: int
    is_patient: bool
    statuses: Counter[int | str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def ask(self, port: int, photo: bytes) -> float:
        """Send a photo; return how long to wait before the next one, seconds."""
        start = time.perf_counter()
        try:
            connection = http.client.HTTPConnection(
                "127.0.0.1", port, timeout=_TIMEOUT_S, source_address=(self.address, 0)
            )
            connection.request("POST", "/api/predict", photo, {"Host": "localhost"})
            answer = connection.getresponse()
            answer.read()
            status, retry = answer.status, float(answer.getheader("Retry-After") or 0)
            connection.close()
        except OSError as error:
            self.statuses[type(error).__name__] += 1
            return _IMPATIENT_S
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(time.perf_counter() - start)
        return retry if self.is_patient else min(retry, _IMPATIENT_S)


def print_web_clients(
    model: str, polite: int, greedy: int, seconds: float, photo: bytes | None, options: list[str]
) -> None:
    """Print what each client got while all of them send photos.

    Args:
        model: As for ``ehrpose-web``.
        polite: Number of clients that send one photo at a time.
        greedy: Requests that one more client keeps open at the same time; 0 leaves it out.
        seconds: How long they send.
        photo: What they send; None sends a generated one of 0.3 megapixels.
        options: More arguments of ``ehrpose-web``.

    Raises:
        ValueError: The server did not start, or this system has only one loopback address.
    """
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError as error:
        raise ValueError(f"expected a loopback address for each client, as on Linux: {error}") from error
    photo = photo or generated_photo(0.3, ".jpg", 0)
    clients = [Client(f"polite {i + 1}", f"127.0.0.{i + 2}", 1, True) for i in range(polite)]
    if greedy:
        clients.append(Client("greedy", "127.0.0.200", greedy, False))
    with server(model, options) as (port, _):
        warm = Client("warm", "127.0.0.1", 1, True)
        for _ in range(3):
            warm.ask(port, photo)
        if warm.statuses[200] != 3:
            raise ValueError(f"{model} does not answer a photo: see what the server printed")
        took = _send(clients, port, photo, seconds)
        counts = _metrics(port)
    answered = sum(client.statuses[200] for client in clients)
    print(f"{answered / took:.2f} photos/s from {len(clients)} clients, {took:.0f} s")
    for client in clients:
        median, high = np.percentile(client.seconds, [50, 95]) if client.seconds else (np.nan, np.nan)
        others = {str(status): count for status, count in client.statuses.items() if status != 200}
        print(
            f"{client.name} ({client.parallel} at a time): {client.statuses[200]} answered, "
            f"median {median:.2f} s, 95 % {high:.2f} s, others {others}"
        )
    print(f"the server counted {counts} answers with people, and 3 before")


def _send(clients: list[Client], port: int, photo: bytes, seconds: float) -> float:
    """Let all clients send photos; return how long it took until the last was answered, seconds."""
    start = time.perf_counter()

    def work(client: Client) -> None:
        while time.perf_counter() - start < seconds:
            time.sleep(client.ask(port, photo))

    threads = [
        threading.Thread(target=work, args=(client,)) for client in clients for _ in range(client.parallel)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def _metrics(port: int) -> int:
    """Return how many photos the server says it has answered, without the first three."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r'ehrpose_requests_total\{path="/api/predict",status="200"\} (\d+)', text)
    return int(found[1]) - 3 if found else 0
