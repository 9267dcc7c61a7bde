"""Backends shared by threads: the protocol in ``deploy/backends/base.py``, for each installed backend."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError

NUM_THREADS, NUM_PHOTOS = 8, 100
# TensorRT's is in test_tensorrt.py, with a simulated library.
BACKENDS = {
    "onnxruntime": ("onnxruntime", {}),
    "openvino": ("openvino", {}),
    "openvino, many at once": ("openvino", {"hint": "throughput"}),
    "torch": ("torch", {"trust_pt2": True}),
}


@pytest.fixture
def networks(exported_small):
    def path(backend, decode="none"):
        options = {"decode": decode} if decode != "none" else {}
        return exported_small(backend="torch" if backend == "torch" else "onnxruntime", **options).path

    return path


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (rng.integers(40, 90), 64, 3), np.uint8) for _ in range(NUM_PHOTOS)]


def together(work, number):
    """Call ``work`` with 0 to ``number`` - 1 in NUM_THREADS threads that start at the same moment."""
    ready = threading.Barrier(NUM_THREADS)
    with ThreadPoolExecutor(NUM_THREADS, initializer=ready.wait) as pool:
        return list(pool.map(work, range(number)))


@pytest.mark.parametrize(("name", "decode"), [*((name, "none") for name in BACKENDS), ("openvino", "peaks")])
def test_eight_threads_get_what_one_gets(networks, photos, name, decode):
    backend, options = BACKENDS[name]
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    with PoseRuntime(networks(backend, decode), backend, num_threads=1, **options) as runtime:
        batches = [runtime.prepare(photo)[0][None] for photo in photos]
        wanted = [(runtime.backend.run(batch), runtime(photo)) for batch, photo in zip(batches, photos)]
        assert sum(len(people) for _, people in wanted) > NUM_PHOTOS
        found = together(lambda i: (runtime.backend.run(batches[i]), runtime(photos[i])), NUM_PHOTOS)
    for (maps, people), (wanted_maps, wanted_people) in zip(found, wanted):
        for key, values in wanted_maps.items():
            np.testing.assert_array_equal(maps[key], values, err_msg=key)
        for key in ("keypoints", "keypoint_scores", "scores"):
            np.testing.assert_array_equal(getattr(people, key), getattr(wanted_people, key), err_msg=key)


@pytest.mark.parametrize("name", BACKENDS)
def test_closing_while_threads_run_is_an_error_there_and_nothing_hangs(networks, photos, name):
    backend, options = BACKENDS[name]
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    runtime = PoseRuntime(networks(backend), backend, num_threads=1, **options)
    wanted = len(runtime(photos[0]))
    said, other, started = [], [], threading.Event()

    def work():
        try:
            while True:
                other.extend([] if len(runtime(photos[0])) == wanted else ["other people"])
                started.set()
        except DeployError as error:
            said.append(str(error))
        except Exception as error:
            other.append(repr(error))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(NUM_THREADS)]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    runtime.close()
    runtime.close()
    for thread in threads:
        thread.join(60)
    assert other == []
    assert said == [f"{runtime.path} was closed"] * NUM_THREADS
