"""A Ray cluster that cannot be reached, without Ray."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from ehrpose.batch.options import BatchOptions
from ehrpose.batch.ray_engine import RayWorkers
from ehrpose.batch.sink import Sink


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    """A module `ray` whose cluster does not answer, and a folder of the user's."""
    ray, data = ModuleType("ray"), ModuleType("ray.data")

    def init(**options):
        raise ConnectionError(f"failed to connect to {options['address']}")

    ray.init, ray.is_initialized, ray.data = init, lambda: False, data
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    return tmp_path


def refusal(folder):
    with pytest.raises(ValueError, match="no Ray cluster at `address` host:1: failed to connect") as error:
        RayWorkers(BatchOptions(engine="ray", address="host:1"), 1, 1, Sink(folder / "out"))
    return str(error.value)


def test_the_token_is_named_where_there_is_one(unreachable, monkeypatch):
    assert "token" not in refusal(unreachable)
    (unreachable / ".ray").mkdir()
    (unreachable / ".ray/auth_token").write_text("secret")
    assert refusal(unreachable).endswith("; if the cluster asks for a token, set RAY_AUTH_MODE=token")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "RAY_AUTH_MODE" not in refusal(unreachable)
