"""Memory and answers of the web server while many large photos arrive at once. Linux only: it reads /proc.

The server is a program of its own, started as a user starts it. The photos are generated: a smooth picture, with zeros
after its end, which decoders ignore, to make the file as large as wanted.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

_TIMEOUT_S = 600


def generated_photo(megapixels: float, suffix: str, megabytes: float) -> bytes:
    """Return an encoded square picture.

    Args:
        megapixels: Its size.
        suffix: Format, such as ``".jpg"``.
        megabytes: Size of the file, if that is more than the picture needs.
    """
    side = int((megapixels * 1e6) ** 0.5)
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    picture = cv2.merge(
        [np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.full((side, side), 90, np.uint8)]
    )
    data = cv2.imencode(suffix, picture)[1].tobytes()
    return data + bytes(max(0, int(megabytes * 1e6) - len(data)))


def print_web_load(
    model: str, uploads: int, megapixels: float, suffix: str, megabytes: float, options: list[str]
) -> None:
    """Print the memory of the idle server, its peak during the uploads, and how they were answered.

    Args:
        model: As for ``ehrpose-web``.
        uploads: Number of simultaneous uploads.
        megapixels: Size of each photo.
        suffix: Format of the photos.
        megabytes: Minimum size of each file.
        options: More arguments of ``ehrpose-web``.

    Raises:
        ValueError: This is not Linux, or the server did not start.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise ValueError("this benchmark reads /proc: expected Linux")
    photo = generated_photo(megapixels, suffix, megabytes)
    with _server(model, options) as (port, pid):
        small = generated_photo(0.3, ".jpg", 0)
        for _ in range(3):
            if _ask(port, small)[0] != 200:
                raise ValueError(f"{model} does not answer a small photo: see what the server printed")
        time.sleep(1)
        idle = _resident(pid)
        for process in _tree(pid):
            Path(f"/proc/{process}/clear_refs").write_text("5")  # resets VmHWM
        answers: list[tuple[int | str, str | None]] = []
        with _sampled(pid) as peak:
            start = time.perf_counter()
            threads = [
                threading.Thread(target=lambda: answers.append(_ask(port, photo))) for _ in range(uploads)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - start
        bound = sum(_status(process, "VmHWM:") for process in _tree(pid))
        again = _ask(port, small)[0]
        counts = Counter(status for status, _ in answers)
        without = sum(status == 503 and retry is None for status, retry in answers)
    print(f"{uploads} uploads of {megapixels:g} megapixels, {suffix}, {len(photo) / 1e6:.1f} MB each")
    print(
        f"idle {idle / 1e6:.0f} MB, peak {peak[0] / 1e6:.0f} MB (processes' own peaks together {bound / 1e6:.0f} MB)"
    )
    print(f"above idle {(peak[0] - idle) / 1e6:.0f} MB (bound {(bound - idle) / 1e6:.0f} MB)")
    print(
        f"answers {dict(counts)}, 503 without Retry-After {without}, {seconds:.1f} s; a small photo then: {again}"
    )


@contextmanager
def _server(model: str, options: list[str]) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "ehrpose.web.server", "--model", model, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise ValueError(f"the server did not start: {' '.join(command)}")
        yield int(line.split()[0].rsplit(":", 1)[1]), process.pid
    finally:
        process.terminate()
        process.wait(30)


def _ask(port: int, photo: bytes) -> tuple[int | str, str | None]:
    """Return the status of an answer and its Retry-After; the name of the error without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/api/predict", photo)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")
    except OSError as error:
        return type(error).__name__, None
    finally:
        connection.close()


@contextmanager
def _sampled(pid: int) -> Iterator[list[int]]:
    """Yield a list whose only value becomes the largest memory of a process and its children, in bytes."""
    peak, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], _resident(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _resident(pid: int) -> int:
    return sum(_status(process, "VmRSS:") for process in _tree(pid))


def _tree(pid: int) -> list[int]:
    """Return the numbers of a process and all its descendants."""
    found = [pid]
    for process in found:
        for path in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, path.read_text().split())
            except OSError:  # it ended
                continue
    return found


def _status(pid: int, field: str) -> int:
    """Return a field of a process's status, in bytes; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith(field)), 0)
