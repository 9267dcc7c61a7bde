"""Names that are imported on first use: attributes of a package, components of a registry."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Callable, Dict, Mapping


def lazy_attributes(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package (PEP 562); an error in a module is raised where its name is first used.

    Args:
        package: ``__name__`` of the package.
        modules: Attribute name to the full name of its module.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return get


class StepwiseLookup:
    """Lookup that imports only as many locations as it needs; an unknown name imports all of them."""

    _locations: Any  # a list of module names; MMEngine types it its own way
    _module_dict: Dict[str, Any]

    def own(self, name: str) -> Any:
        """Return what is registered as ``name``, or None; nothing is imported but the registry's locations."""
        for location in (None, *self._locations):
            if location is not None:
                import_module(location)
            if name in self._module_dict:
                return self._module_dict[name]
        return None
