from typing import TYPE_CHECKING

from ehrpose.lazy import lazy_attributes
from ehrpose.models.heads.ae_head import AEHead, SingleLevelAEHead

if TYPE_CHECKING:
    from ehrpose.models.heads.classification import ClassificationHead

__all__ = ["AEHead", "ClassificationHead", "SingleLevelAEHead"]

if not TYPE_CHECKING:  # for pre-training only; pose estimation does not need it
    __getattr__ = lazy_attributes(__name__, {"ClassificationHead": "ehrpose.models.heads.classification"})
