"""Registries: every location of every registry exists, and a name resolves before anything was imported."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ehrpose import registry

REGISTRIES = {name: getattr(registry, name) for name in registry.__all__}


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


def registered_names():
    """Return (registry, class) of every decorator ``@REGISTRY.register_module()`` in the package."""
    found = []
    for path in sorted(Path(registry.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for decorator in getattr(node, "decorator_list", []):
                call = decorator.func if isinstance(decorator, ast.Call) else decorator
                if isinstance(call, ast.Attribute) and call.attr == "register_module":
                    given = [
                        ast.literal_eval(k.value)
                        for k in getattr(decorator, "keywords", [])
                        if k.arg == "name"
                    ]
                    found.append((ast.unparse(call.value), *(given or [node.name])))
    return [pair for pair in found if pair[0] in REGISTRIES]


def test_every_registered_component_is_found_by_a_registry_that_has_imported_nothing():
    names = registered_names()
    assert len(names) > 40
    code = "import sys\nfrom ehrpose import registry\nfor line in sys.stdin:\n"
    code += (
        "    kind, name = line.split()\n    if getattr(registry, kind).get(name) is None: print(kind, name)\n"
    )
    lines = "\n".join(f"{kind} {name}" for kind, name in reversed(names))
    done = subprocess.run(
        [sys.executable, "-c", code], input=lines, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_devices_need_no_mmengine():
    code = "import sys, ehrpose.deploy.runtime, ehrpose.codecs, ehrpose.tracking; print('mmengine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_components_of_devices_are_registered_by_name_and_by_class():
    own = registry.PluginRegistry("toy", [])

    @own.register_module()
    class First:
        def __init__(self, size=1):
            self.size = size

    own.register_module(name=["second", "deuxieme"], module=First)
    assert own.get("ehrpose.First") is own.get("second") is First
    assert "deuxieme" in own
    assert (own.build({"type": "First", "size": 3}).size, own.build({"type": First}, size=2).size) == (3, 2)
    with pytest.raises(KeyError, match=r"First is already in the toy registry, as .*: choose"):
        own.register_module(module=First)
    own.register_module(module=First, force=True)
    with pytest.raises(
        KeyError, match=r"Frist is not in the toy registry: expected one of .*; did you mean First\?"
    ):
        own.build({"type": "Frist"})
    with pytest.raises(TypeError, match="expected a mapping with the key 'type' to build a toy"):
        own.build({"size": 3})
    with pytest.raises(TypeError, match="expected a class or a function to register"):
        own.register_module(module=3)
