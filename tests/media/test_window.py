from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ehrpose.media import window
from ehrpose.media.stopping import StopRequest
from ehrpose.media.window import check_window, show_picture

PICTURE = np.zeros((40, 60, 3), np.uint8)
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have a window without DISPLAY")


@pytest.fixture
def keys(monkeypatch):
    """OpenCV's window with the given keys, 255 for none; records the waits in ms. The clock runs only while waiting."""
    keys, waited = [], []

    def wait_key(milliseconds):
        waited.append(milliseconds)
        return keys.pop(0) if keys else -1

    monkeypatch.setattr(window, "check_window", lambda: None)
    monkeypatch.setattr(window, "time", SimpleNamespace(monotonic=lambda: sum(waited) / 1000))
    monkeypatch.setattr(cv2, "imshow", lambda *args: None)
    monkeypatch.setattr(cv2, "waitKey", wait_key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *args: 1.0)
    return (keys, waited)


@pytest.mark.parametrize(("key", "goes_on"), [(ord("q"), False), (27, False), (ord(" "), True)])
def test_keys(keys, key, goes_on):
    keys[0].extend([-1, -1, key])
    assert show_picture(PICTURE, None) is goes_on
    assert len(keys[1]) == 3


def test_a_picture_of_a_video_does_not_wait(keys):
    assert show_picture(PICTURE, 0) is True
    assert keys[1] == [1]


def test_a_picture_stays_as_long_as_asked_for(keys):
    assert show_picture(PICTURE, 0.12) is True
    assert keys[1] == [50, 50, 20]


def test_a_closed_window_ends_it(keys, monkeypatch):
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *args: 0.0)
    assert show_picture(PICTURE, None) is False


def test_ctrl_c_ends_a_picture_that_waits_for_ever(keys):
    with StopRequest() as stop:
        keys[0].extend([-1] * 3)
        signal.raise_signal(signal.SIGINT)
        assert show_picture(PICTURE, None) is False
        assert stop.signal == signal.SIGINT
    assert not StopRequest.is_pending()


@linux
def test_without_a_display_it_is_an_error_and_not_the_end_of_the_process(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    check_window.cache_clear()
    with pytest.raises(ValueError, match="cannot open a window"):
        check_window()
    with pytest.raises(ValueError, match="cannot open a window"):
        show_picture(PICTURE, 0)


@linux
def test_a_real_window_opens_and_closes():
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("Xvfb is not at hand")
    read, write = os.pipe()
    # The server chooses a free display and reports it.
    command = [server, "-displayfd", str(write), "-screen", "0", "300x200x24"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as display:
        try:
            number = os.read(read, 16).decode().strip()
            script = (
                "import numpy as np; from ehrpose.media.window import show_picture;"
                "print(show_picture(np.full((40, 60, 3), 200, np.uint8), 0.3))"
            )
            result = subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "DISPLAY": f":{number}"},
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        finally:
            display.terminate()
            os.close(read)
            os.close(write)
    if "without windows" in result.stderr:
        pytest.skip("this OpenCV has no windows")
    assert result.stdout.strip() == "True", result.stderr
