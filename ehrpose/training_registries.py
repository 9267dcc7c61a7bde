"""The registries of what is trained: each is a child of MMEngine's registry of the same kind.

So MMEngine's own components are found too. ``ehrpose.registry`` gives them to others.
"""

from __future__ import annotations

from typing import Any

import mmengine.registry as root
from mmengine.registry import Registry

from ehrpose.lazy import StepwiseLookup


class StepwiseRegistry(StepwiseLookup, Registry):
    """MMEngine's registry with our lookup."""

    def get(self, key: str) -> Any:
        """Return the component registered as ``key``, or None; see MMEngine's ``Registry.get``."""
        scope, name = self.split_scope_key(key)
        found = self.own(name) if scope in (None, self.scope) else None
        return super().get(key) if found is None else found


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
    "ehrpose.models.label_preprocessor",
    "ehrpose.models.distillation",
    "ehrpose.models.distilled_estimator",
    "ehrpose.models.teachers",
    "ehrpose.models.losses.classification",
    "ehrpose.models.losses.map_distillation",
    "ehrpose.models.heads.segmentation",
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
    "ehrpose.datasets.classification.drawn_shapes",
    "ehrpose.datasets.classification.folders",
    "ehrpose.datasets.classification.cifar",
    "ehrpose.datasets.classification.digits",
    "ehrpose.datasets.classification.photos",
)
TRANSFORMS = _child(
    root.TRANSFORMS,
    "ehrpose.datasets.transforms.loading",
    "ehrpose.datasets.transforms.geometry",
    "ehrpose.datasets.transforms.packing",
    "ehrpose.datasets.transforms.encoding",
    "ehrpose.datasets.transforms.mixing",
    "ehrpose.datasets.transforms.photometric",
    "ehrpose.datasets.transforms.cropping",
    "ehrpose.datasets.transforms.rand_augment",
    "ehrpose.datasets.transforms.masks",
)
METRICS = _child(root.METRICS, "ehrpose.evaluation")
HOOKS = _child(root.HOOKS, "ehrpose.engine")
OPTIMIZERS = _child(root.OPTIMIZERS, "ehrpose.engine.muon")
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS, "ehrpose.engine")
LOOPS = _child(root.LOOPS, "ehrpose.engine")
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, "mmengine.dataset", "ehrpose.engine")
RUNNERS = _child(root.RUNNERS, "ehrpose.engine")
VISUALIZERS = _child(root.VISUALIZERS, "ehrpose.engine.visualizer", "ehrpose.engine.label_visualizer")
