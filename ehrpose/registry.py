"""Registries: every replaceable component of ehrpose is looked up by name in one of them.

``locations`` are imported on lookup, one by one until the name is found; those needed for inference come first. The
registries of training are children of MMEngine's and are made on first use: devices have neither MMEngine nor torch.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Optional, Sequence, Type, Union

from ehrpose.lazy import StepwiseLookup, lazy_attributes

if TYPE_CHECKING:  # static types of the names that __getattr__ loads
    from ehrpose.training_registries import (
        DATA_SAMPLERS,
        DATASETS,
        HOOKS,
        LOOPS,
        METRICS,
        MODELS,
        OPTIM_WRAPPERS,
        OPTIMIZERS,
        RUNNERS,
        TRANSFORMS,
        VISUALIZERS,
    )

__all__ = [
    "BACKENDS",
    "CODECS",
    "DATASETS",
    "DATA_SAMPLERS",
    "HOOKS",
    "LABEL_FORMATS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "OPTIMIZERS",
    "OPTIM_WRAPPERS",
    "RUNNERS",
    "TRACKERS",
    "TRANSFORMS",
    "VISUALIZERS",
]

SCOPE = "ehrpose"


class PluginRegistry(StepwiseLookup):
    """Components by name, with the methods of MMEngine's ``Registry`` that configs need, and without MMEngine.

    Args:
        name: What its components are, for messages.
        locations: Modules that register components; imported one by one until a name is found.
    """

    scope = SCOPE

    def __init__(self, name: str, locations: Sequence[str]):
        self.name = name
        self._locations = list(locations)
        self._module_dict: Dict[str, Any] = {}

    @property
    def module_dict(self) -> Dict[str, Any]:
        """Name to component of all that are registered; those of locations not imported yet are missing."""
        return self._module_dict

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return len(self._module_dict)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, components={sorted(self._module_dict)})"

    def register_module(
        self,
        name: Union[str, Sequence[str], None] = None,
        force: bool = False,
        module: Optional[Type[Any]] = None,
    ) -> Any:
        """Register a class or function, as a decorator with parentheses or by ``module``.

        Args:
            name: Name or names; None takes that of the component.
            force: Replace what is registered under the name.
            module: The component; None returns a decorator.

        Raises:
            KeyError: The name is taken.
            TypeError: The component is neither a class nor a function.
        """
        if module is None:
            return lambda component: self.register_module(name, force, component)
        if not callable(module):
            raise TypeError(f"expected a class or a function to register in {self.name}s, got {module!r}")
        names = [module.__name__] if name is None else [name] if isinstance(name, str) else list(name)
        for one in names:
            if not force and one in self._module_dict:
                taken = self._module_dict[one]
                raise KeyError(
                    f"{one} is already in the {self.name} registry, as {taken.__module__}.{taken.__qualname__}: choose "
                    "another name, or replace it with force=True"
                )
            self._module_dict[one] = module
        return module

    def get(self, key: str) -> Any:
        """Return the component registered as ``key``, with or without the scope ``ehrpose.``, or None."""
        scope, dot, name = key.rpartition(".")
        return self.own(name if dot and scope == SCOPE else key)

    def import_from_location(self) -> None:
        """Import all locations."""
        for location in self._locations:
            import_module(location)

    def build(self, cfg: Mapping[str, Any], **defaults: Any) -> Any:
        """Return the component that a config describes.

        Args:
            cfg: Arguments, and ``type``: a name, or the class itself.
            **defaults: Arguments that the config may override.

        Raises:
            TypeError: ``cfg`` is no mapping with a ``type``, or the component does not take an argument.
            KeyError: The name is not in the registry.
        """
        if not isinstance(cfg, Mapping) or "type" not in cfg:
            raise TypeError(f"expected a mapping with the key 'type' to build a {self.name}, got {cfg!r}")
        arguments = {**defaults, **cfg}
        kind = arguments.pop("type")
        component: Optional[Callable[..., Any]] = self.get(kind) if isinstance(kind, str) else kind
        if component is None:
            near = difflib.get_close_matches(kind, self._module_dict, n=1)
            raise KeyError(
                f"{kind} is not in the {self.name} registry: expected one of {', '.join(sorted(self._module_dict))}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        return component(**arguments)


CODECS = PluginRegistry(
    "codec",
    [
        "ehrpose.codecs",
        "ehrpose.codecs.part_affinity",
        "ehrpose.codecs.personlab",
        "ehrpose.codecs.class_scores",
    ],
)
BACKENDS = PluginRegistry("backend", ["ehrpose.deploy.backends"])
TRACKERS = PluginRegistry("tracker", ["ehrpose.tracking"])
LABEL_FORMATS = PluginRegistry("label format", ["ehrpose.labels"])

if not TYPE_CHECKING:  # otherwise a type checker would accept any name
    _TRAINING = "ehrpose.training_registries"
    _LAZY = {
        name: _TRAINING for name in __all__ if name not in ("BACKENDS", "CODECS", "LABEL_FORMATS", "TRACKERS")
    }
    __getattr__ = lazy_attributes(__name__, _LAZY)


def is_reference(value: Any) -> bool:
    """Return whether a config value refers to a top-level one, such as ``"$codec"``."""
    return isinstance(value, str) and value.startswith("$") and value[1:].isidentifier()


def refuse_reference(value: Any) -> None:
    """Raise ValueError for a value that ``ehrpose.config.resolve`` should have replaced."""
    if is_reference(value):
        raise ValueError(
            f"unresolved reference {value!r}: load the config with ehrpose.config.load_config(path) and pass it "
            "through ehrpose.config.resolve(cfg)"
        )


def build_codec(codec: Any) -> Any:
    """Build a codec from its config; a codec object is returned unchanged.

    Raises:
        ValueError: ``codec`` is an unresolved reference, or an argument is invalid.
    """
    refuse_reference(codec)
    return CODECS.build(codec) if isinstance(codec, Mapping) else codec
