"""The page in a real browser: Debian's chromium, driven by selenium. make test-web says how to get them."""

from __future__ import annotations

import json
import shutil
import time
from functools import partial

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("selenium.webdriver", reason="selenium is installed by make test-web")

from page_server import TwoPeople, running
from selenium import webdriver
from selenium.webdriver.common.by import By

from ehrpose.web.limits import Limits
from ehrpose.web.model_pool import ModelPool

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("chromium"), reason="no chromium: apt install chromium chromium-driver"
    ),
    pytest.mark.skipif(
        not shutil.which("chromedriver"), reason="no chromedriver: apt install chromium-driver"
    ),
]
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic",
         "--disable-component-update", "--disable-sync", "--no-first-run", "--window-size=1280,900",
         "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")  # fmt: skip


def opened_at(gate):
    """Open a model once a file exists."""
    while not gate.exists():
        time.sleep(0.01)
    return TwoPeople()


@pytest.fixture(scope="module")
def address():
    limits = Limits(max_bytes=400_000)
    with running(ModelPool({"two": TwoPeople, "other": TwoPeople}, limits), limits) as (port, _):
        yield f"http://localhost:{port}"


@pytest.fixture
def address_with_token():
    limits = Limits()
    with running(ModelPool({"two": TwoPeople}), limits, token="a-token-for-tests-only") as (port, _):
        yield f"http://localhost:{port}"


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.full((300, 400, 3), 128, np.uint8))
    return path


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("the page did not get there in time")


def text(browser, name):
    return browser.find_element(By.ID, name).text


def pixel(browser, x, y):
    script = (
        f"return [...document.getElementById('canvas').getContext('2d').getImageData({x}, {y}, 1, 1).data]"
    )
    return browser.execute_script(script)


def set_slider(browser, name, value):
    browser.execute_script(
        f"const s = document.getElementById('{name}'); s.value = {value}; s.dispatchEvent(new Event('input'))"
    )


DROP = """
const [name, data] = arguments;
const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name));
for (const kind of ["dragenter", "dragover", "drop"]) {
  const event = new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true});
  document.getElementById("drop").dispatchEvent(event);
}
"""


def drop(browser, path):
    import base64

    browser.execute_script(DROP, path.name, base64.b64encode(path.read_bytes()).decode())


def errors_of(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_dropped_photo_is_drawn_and_thresholds_redraw(browser, address, photo, tmp_path):
    browser.get(address)
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#model option")) == 2)
    drop(browser, photo)
    until(lambda: text(browser, "count") == "2 people")
    nose = round(0.3 * 400), round(0.2 * 300)
    assert pixel(browser, *nose)[:3] != [128, 128, 128]
    assert pixel(browser, 5, 5)[:3] == [128, 128, 128]
    assert len(browser.find_elements(By.CSS_SELECTOR, "#people li")) == 2
    set_slider(browser, "person-thr", 0.5)
    assert text(browser, "count") == "1 person"
    other = round(0.7 * 400), round(0.2 * 300)
    assert pixel(browser, *other)[:3] == [128, 128, 128]
    set_slider(browser, "person-thr", 0.1)
    set_slider(browser, "keypoint-thr", 0.5)
    assert text(browser, "count") == "2 people"
    assert pixel(browser, *other)[:3] == [128, 128, 128]
    browser.find_element(By.ID, "show-heatmap").click()
    until(lambda: pixel(browser, 150, 150)[:3] != [128, 128, 128])
    browser.find_element(By.ID, "save-json").click()
    saved = tmp_path / "downloads" / "people.json"
    until(saved.exists)
    people = json.loads(saved.read_text())
    assert [person["bbox_score"] for person in people] == [0.8, 0.4]
    assert errors_of(browser) == []


def test_a_bad_file_gives_a_message(browser, address, tmp_path, photo):
    browser.get(address)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#model option"))
    bad = tmp_path / "notes.txt"
    bad.write_text("these are notes")
    drop(browser, bad)
    until(lambda: "cannot decode this image" in text(browser, "error"))
    large = tmp_path / "large.png"
    large.write_bytes(bytes(500_000))
    drop(browser, large)
    until(lambda: "the limit is 0.4 MB" in text(browser, "error"))
    drop(browser, photo)
    until(lambda: text(browser, "count") == "2 people")
    assert not browser.find_element(By.ID, "error").is_displayed()


def test_a_chosen_file_and_another_model(browser, address, photo):
    browser.get(address)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#model option"))
    browser.find_element(By.ID, "file").send_keys(str(photo))
    until(lambda: text(browser, "status").startswith("two,"))
    browser.find_element(By.CSS_SELECTOR, "#model option:nth-child(2)").click()
    until(lambda: text(browser, "status").startswith("other,"))


def test_the_example_takes_one_click(browser, address):
    browser.get(address)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#model option"))
    browser.find_element(By.ID, "example").click()
    until(lambda: text(browser, "count") == "2 people")
    assert text(browser, "status") == "two, 720 x 480 px"
    assert errors_of(browser) == []


def test_the_page_says_that_the_model_is_loading(browser, tmp_path, photo):
    gate = tmp_path / "gate"
    limits, pool = Limits(), ModelPool({"slow": partial(opened_at, gate)})
    with running(pool, limits, preload=True) as (port, _):
        browser.get(f"http://localhost:{port}")
        until(lambda: text(browser, "loading").startswith("Loading the model slow ... You can already"))
        drop(browser, photo)
        until(lambda: text(browser, "loading").endswith("Your photo is next."))
        gate.touch()
        until(lambda: text(browser, "count") == "2 people")
        until(lambda: not browser.find_element(By.ID, "loading").is_displayed())


def test_camera_frames_are_followed_until_stopped(browser, address):
    browser.get(address)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#model option"))
    browser.find_element(By.ID, "camera").click()
    until(lambda: "frames/s" in text(browser, "status") and "..." not in text(browser, "status"))
    assert text(browser, "count") == "2 people"
    browser.find_element(By.ID, "stop").click()
    assert not browser.find_element(By.ID, "stop").is_displayed()
    assert errors_of(browser) == []


def test_the_page_asks_for_the_token(browser, address_with_token, photo):
    browser.get(address_with_token)
    until(lambda: browser.find_element(By.ID, "token").is_displayed())
    for token, message in (
        ("wrong", "The server does not accept this token."),
        ("a-token-for-tests-only", ""),
    ):
        browser.find_element(By.ID, "token").send_keys(token)
        browser.find_element(By.CSS_SELECTOR, "#token-form button").click()
        until(lambda message=message: text(browser, "error") == message)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "#model option"))
    assert not browser.find_element(By.ID, "token").is_displayed()
    drop(browser, photo)
    until(lambda: text(browser, "count") == "2 people")


def test_no_request_leaves_this_machine(browser, address, photo):
    browser.get(address)
    # At once, before the list of models has arrived.
    drop(browser, photo)
    until(lambda: text(browser, "count") == "2 people")
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert urls
    assert [
        url for url in urls if not url.startswith((address, "blob:", "data:", "chrome:", "chrome-untrusted:"))
    ] == []
