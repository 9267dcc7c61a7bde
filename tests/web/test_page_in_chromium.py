"""The page without a server in a real browser: Debian's chromium, driven by selenium. make test-web gets them."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("selenium.webdriver", reason="selenium is installed by make test-web")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

from selenium import webdriver
from selenium.webdriver.common.by import By

from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.image_io import read_image
from ehrpose.model_zoo import find_model
from ehrpose.web.static_page import write_page

ORT_VARIABLE = "ORT_WEB_DIR"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("chromium"), reason="no chromium: apt install chromium chromium-driver"
    ),
    pytest.mark.skipif(
        not shutil.which("chromedriver"), reason="no chromedriver: apt install chromium-driver"
    ),
    pytest.mark.skipif(
        ORT_VARIABLE not in os.environ,
        reason=f"{ORT_VARIABLE} is not set to a folder of onnxruntime-web: make test-web",
    ),
]
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic",
         "--disable-component-update", "--disable-sync", "--no-first-run", "--window-size=1280,900",
         "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # fmt: skip


@contextmanager
def serving(folder, isolated=False):
    """Serve files as any server does; with ``isolated`` also the headers that give pages threads."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            if isolated:
                self.send_header("Cross-Origin-Opener-Policy", "same-origin")
                self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            super().end_headers()

        def log_message(self, *arguments):
            asked.append((self.command, self.path))

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield SimpleNamespace(address=f"http://localhost:{server.server_port}", asked=asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static") / "page"
    write_page(folder, (), os.environ[ORT_VARIABLE])
    return folder


@contextmanager
def browsing(folder):
    """A browser that writes down every request of all its pages and workers; ``requests`` has them at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    log = folder / "net.json"
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    found = SimpleNamespace(driver=driver, requests=[])
    try:
        yield found
    finally:
        driver.quit()
    until(lambda: log.is_file() and log.read_text(encoding="utf-8").rstrip().endswith("}"))
    for event in json.loads(log.read_text(encoding="utf-8"))["events"]:
        told = event.get("params", {})
        if "url" in told and "initiator" in told:
            found.requests.append((told["initiator"], told.get("method"), told["url"]))


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("the page did not get there in time")


def text(driver, name):
    return driver.find_element(By.ID, name).text


def opened(driver, address, query="engine=wasm"):
    driver.get(f"{address}/index.html?{query}")
    until(lambda: not driver.find_element(By.ID, "loading").is_displayed())
    assert text(driver, "error") == ""


def choose(driver, path):
    """Choose a file, and wait until its people are drawn."""
    driver.execute_script("document.getElementById('status').textContent = ''")
    driver.find_element(By.ID, "file").send_keys(str(path))
    until(lambda: text(driver, "status") or text(driver, "error"))


def set_slider(driver, name, value):
    driver.execute_script(
        f"const s = document.getElementById('{name}'); s.value = {value}; s.dispatchEvent(new Event('input'))"
    )


def saved_people(driver, folder):
    """Save the people as a user does; return them."""
    path = folder / "downloads" / "people.json"
    path.unlink(missing_ok=True)
    driver.find_element(By.ID, "save-json").click()
    # The browser reserves the name with an empty file.
    until(lambda: path.is_file() and path.read_text(encoding="utf-8").endswith("]"))
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory, coco_keypoints):
    """Files of drawn photos of several shapes, without loss."""
    from ehrpose.datasets.synthetic import SyntheticPeople

    folder = tmp_path_factory.mktemp("photos")
    scenes = SyntheticPeople(
        coco_keypoints, length=4, image_size=384, num_people=(2, 4), serialize_data=False
    )
    images = [scenes.get_data_info(index)["img"] for index in range(4)]
    images = [images[0], images[1][:256], images[2][:, :200], cv2.resize(images[3], (1500, 1400))]
    paths = [folder / f"{index}.png" for index in range(len(images))]
    for path, image in zip(paths, images):
        cv2.imwrite(str(path), image)
    return paths


def write_video(path):
    """Write a second of a moving scene."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP80"), 10, (320, 240))
    if not writer.isOpened():
        pytest.skip("OpenCV writes no WebM here")
    for step in range(10):
        writer.write(np.full((240, 320, 3), 20 * step, np.uint8))
    writer.release()


def test_people_are_those_of_python_and_nothing_leaves(page, photos, tmp_path):
    """Photos, video and camera; the browser's own log of its network has requests for the page's files alone."""
    write_video(tmp_path / "clip.webm")
    total = 0
    with serving(page) as server, serving(tmp_path) as foreign, browsing(tmp_path) as browser:
        driver = browser.driver
        opened(driver, server.address)
        set_slider(driver, "person-thr", 0)
        loaded = len(server.asked)
        with PoseRuntime(find_model("ehrnet-small").network) as runtime:
            for path in photos:
                expected = runtime(read_image(path))
                choose(driver, path)
                assert "1 thread" in text(driver, "status")
                if not len(expected):
                    continue
                found = saved_people(driver, tmp_path)
                assert len(found) == len(expected)
                total += len(found)
                np.testing.assert_allclose(
                    [person["keypoints"] for person in found], expected.keypoints, atol=0.5
                )
                np.testing.assert_allclose(
                    [person["bbox_score"] for person in found], expected.scores, atol=0.005
                )
        choose(driver, tmp_path / "clip.webm")
        until(lambda: "frames/s" in text(driver, "status"))
        assert "video" in text(driver, "status")
        until(lambda: not driver.find_element(By.ID, "stop").is_displayed())
        driver.find_element(By.ID, "camera2").click()
        until(lambda: "camera" in text(driver, "status") and "frames/s" in text(driver, "status"))
        driver.find_element(By.ID, "stop").click()
        assert len(server.asked) == loaded  # people are found without any request
        # What a script of the page, or of a worker like the page's, would be told if it tried.
        assert driver.execute_async_script(TRY_TO_SEND, foreign.address) == ["refused", "refused"]
    assert foreign.asked == []
    assert total >= 4
    own = [request for request in browser.requests if request[0] == server.address]
    web = [(method, url) for _, method, url in own if not url.startswith("blob:")]
    assert len(web) > 10  # the log does have the page's requests
    assert [
        (method, url) for method, url in web if method != "GET" or not url.startswith(f"{server.address}/")
    ] == []
    assert {method for method, _ in server.asked} == {"GET"}
    assert any("ort-wasm" in url for _, url in web)  # those of the worker, too


TRY_TO_SEND = """
const [foreign, done] = arguments;
const attempt = `fetch(${JSON.stringify(foreign)}, {method: "POST", body: "x", mode: "no-cors"})
  .then(() => "sent", () => "refused")`;
const source = `${attempt}.then((told) => postMessage(told));`;
const worker = new Worker(URL.createObjectURL(new Blob([source], {type: "text/javascript"})), {type: "module"});
const ofWorker = new Promise((resolve) => { worker.onmessage = ({data}) => resolve(data); });
const ofPage = fetch(foreign, {method: "POST", body: "x", mode: "no-cors"}).then(() => "sent", () => "refused");
Promise.all([ofPage, ofWorker]).then(done);
"""


def test_threads_controls_and_models(page, photos, tmp_path):
    with serving(page, isolated=True) as server, browsing(tmp_path) as browser:
        driver = browser.driver
        opened(driver, server.address)
        assert driver.execute_script("return crossOriginIsolated")
        driver.find_element(By.ID, "example").click()
        until(lambda: text(driver, "count") == "3 people")
        threads = min(4, driver.execute_script("return navigator.hardwareConcurrency"))
        assert f"{threads} thread" in text(driver, "status")
        assert driver.find_element(By.ID, "canvas").get_attribute("aria-label") == "Photo with 3 people drawn"
        plain = canvas_sum(driver)
        set_slider(driver, "person-thr", 1)
        assert text(driver, "count") == "0 people"
        assert canvas_sum(driver) != plain
        set_slider(driver, "person-thr", 0.1)
        assert canvas_sum(driver) == plain
        driver.find_element(By.ID, "show-heatmap").click()
        until(lambda: canvas_sum(driver) != plain)
        driver.find_element(By.ID, "show-heatmap").click()
        until(lambda: canvas_sum(driver) == plain)
        driver.find_element(By.CSS_SELECTOR, "#model option:nth-child(2)").click()
        until(lambda: "ehrnet-medium" in text(driver, "status"))
        assert "people" in text(driver, "count")
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def canvas_sum(driver):
    return driver.execute_script(
        "const c = document.getElementById('canvas'); let sum = 0;"
        "for (const value of c.getContext('2d').getImageData(0, 0, c.width, c.height).data) sum += value; return sum"
    )


def test_what_is_wrong_is_said(page, tmp_path):
    broken = tmp_path / "page"
    shutil.copytree(page, broken)
    (weights,) = Path(broken, "models").glob("*-0/weights-1.bin")
    with serving(broken) as server, browsing(tmp_path) as browser:
        driver = browser.driver
        opened(driver, server.address)
        (tmp_path / "text.png").write_text("no photo", encoding="utf-8")
        choose(driver, tmp_path / "text.png")
        assert text(driver, "error") == "This browser cannot read that file as a photo."
        (tmp_path / "text.webm").write_text("no video", encoding="utf-8")
        choose(driver, tmp_path / "text.webm")
        until(lambda: text(driver, "error") == "This browser cannot play that file.")
        weights.unlink()
        with serving(broken) as fresh:  # another address, of which the browser keeps nothing
            driver.get(f"{fresh.address}/index.html")
            until(
                lambda: (
                    "The model's weights could not be loaded: the server answered 404."
                    in text(driver, "error")
                )
            )
