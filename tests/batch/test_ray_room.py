"""How many actors a batch asks of a Ray cluster, and what it sets in Ray Data, without Ray."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from ehrpose.batch.options import BatchOptions
from ehrpose.batch.ray_engine import RayWorkers
from ehrpose.batch.sink import Sink


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


@pytest.fixture
def cluster(monkeypatch):
    """A module `ray` with nodes, and what is set in the context of its data sets."""
    ray, data = ModuleType("ray"), ModuleType("ray.data")
    context = SimpleNamespace(autoscaling_config=SimpleNamespace(actor_pool_util_upscaling_threshold=1.75))
    data.DataContext = SimpleNamespace(get_current=lambda: context)
    ray.is_initialized, ray.nodes, ray.data, ray.context = lambda: True, list, data, context
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    return ray


@pytest.mark.parametrize(
    ("nodes", "threads", "device", "room"),
    [
        ([node(CPU=4.0), node(CPU=3.0)], 1, None, 7),
        ([node(CPU=4.0), node(CPU=3.0)], 2, None, 3),  # an actor does not span nodes
        ([node(CPU=4.0), node(False, CPU=3.0)], 1, None, 4),
        ([node(CPU=4.0), node(CPU=8.0, GPU=2.0)], 1, "cuda", 2),
        ([node(CPU=1.0), node(memory=1.0)], 4, None, 1),
    ],
)
def test_there_is_room_for_an_actor_where_its_cores_are(cluster, tmp_path, nodes, threads, device, room):
    cluster.nodes = lambda: nodes
    workers = RayWorkers(BatchOptions(engine="ray", device=device), 1, threads, Sink(tmp_path / "out"))
    assert workers._room() == room


def test_the_context_is_set(cluster, tmp_path):
    RayWorkers(BatchOptions(engine="ray"), 1, 1, Sink(tmp_path / "out"))
    assert cluster.context.max_errored_blocks == -1
    assert cluster.context.wait_for_min_actors_s == -1
    assert cluster.context.execution_no_progress_timeout_s == -1
    assert cluster.context.autoscaling_config.actor_pool_util_upscaling_threshold == 1.0
    del cluster.context.autoscaling_config  # of a version before that
    RayWorkers(BatchOptions(engine="ray"), 1, 1, Sink(tmp_path / "out"))
