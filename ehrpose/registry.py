"""Registries: every replaceable component of ehrpose is looked up by name in one of them.

Each is a child of MMEngine's registry of the same kind, so MMEngine's own components are found too.
``locations`` are imported on lookup, one by one until the name is found; those needed for inference come first.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Mapping

import mmengine.registry as root
from mmengine.registry import Registry

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
    "OPTIM_WRAPPERS",
    "RUNNERS",
    "TRACKERS",
    "TRANSFORMS",
    "VISUALIZERS",
]


class StepwiseRegistry(Registry):
    """Registry that imports only as many locations as a lookup needs; an unknown name imports all of them."""

    def get(self, key: str) -> Any:
        """Return the component registered as ``key``, or None; see MMEngine's ``Registry.get``."""
        scope, name = self.split_scope_key(key)
        found = self.own(name) if scope in (None, self.scope) else None
        return super().get(key) if found is None else found

    def own(self, name: str) -> Any:
        """Return what is registered here as ``name``, or None; nothing is imported but the registry's locations."""
        for location in (None, *self._locations):
            if location is not None:
                import_module(location)
            if name in self._module_dict:
                return self._module_dict[name]
        return None


def _child(parent: Registry, *locations: str) -> Registry:
    return StepwiseRegistry(parent.name, parent=parent, scope="ehrpose", locations=list(locations))


# Estimators, backbones, necks, heads, losses and data preprocessors; the folder tells which is which.
MODELS = _child(
    root.MODELS,
    "ehrpose.models.estimator",
    "ehrpose.models.data_preprocessor",
    "ehrpose.models.backbones",
    "ehrpose.models.necks",
    "ehrpose.models.heads",
    "ehrpose.models.losses",
    "ehrpose.models.heads.classification",
    "ehrpose.models.classifier",
    "ehrpose.models.backbones.hrnet",
    "ehrpose.models.necks.pass_through",
    "ehrpose.models.backbones.litepose",
    "ehrpose.models.heads.fusion_deconv_head",
    "ehrpose.models.backbones.resnet",
    "ehrpose.models.backbones.mobilenet_v2",
    "ehrpose.models.necks.deconv",
    "ehrpose.models.backbones.hourglass",
    "ehrpose.models.backbones.lightweight_openpose",
    "ehrpose.models.heads.part_affinity_head",
    "ehrpose.models.backbones.mobilenet_v1",
    "ehrpose.models.heads.personlab_head",
)
DATASETS = _child(
    root.DATASETS,
    "ehrpose.datasets.coco",
    "ehrpose.datasets.combined",
    "ehrpose.datasets.crowdpose",
    "ehrpose.datasets.synthetic.dataset",
)
TRANSFORMS = _child(
    root.TRANSFORMS,
    "ehrpose.datasets.transforms.loading",
    "ehrpose.datasets.transforms.geometry",
    "ehrpose.datasets.transforms.packing",
    "ehrpose.datasets.transforms.encoding",
    "ehrpose.datasets.transforms.mixing",
    "ehrpose.datasets.transforms.photometric",
)
METRICS = _child(root.METRICS, "ehrpose.evaluation")
HOOKS = _child(root.HOOKS, "ehrpose.engine")
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, "ehrpose.engine")
LOOPS = _child(root.LOOPS, "ehrpose.engine")
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, "mmengine.dataset", "ehrpose.engine")
RUNNERS = _child(root.RUNNERS, "ehrpose.engine")
VISUALIZERS = _child(root.VISUALIZERS, "ehrpose.engine.visualizer")

# No counterpart in MMEngine; these work without torch.
CODECS = StepwiseRegistry(
    "codec",
    scope="ehrpose",
    locations=["ehrpose.codecs", "ehrpose.codecs.part_affinity", "ehrpose.codecs.personlab"],
)
BACKENDS = Registry("backend", scope="ehrpose", locations=["ehrpose.deploy.backends"])
TRACKERS = Registry("tracker", scope="ehrpose", locations=["ehrpose.tracking"])
LABEL_FORMATS = Registry("label format", scope="ehrpose", locations=["ehrpose.labels"])


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
