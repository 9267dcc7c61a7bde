"""Registries: every location of every registry is there, and a name resolves before anything was imported."""

from importlib import import_module

import pytest
from mmengine.registry import Registry

from ehrpose import registry

REGISTRIES = {
    name: value for name, value in vars(registry).items() if name.isupper() and isinstance(value, Registry)
}


@pytest.mark.parametrize("name", sorted(REGISTRIES))
def test_locations_exist(name):
    reg = REGISTRIES[name]
    assert reg._locations, f"{name} has no location"
    for location in reg._locations:
        import_module(location)
    assert reg.scope == "ehrpose"


def test_mmengines_components_are_found():
    assert registry.HOOKS.get("EMAHook") is not None
    assert registry.HOOKS.get("SafeCheckpointHook").__module__.startswith("ehrpose.")
