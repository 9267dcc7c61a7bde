from ehrpose.models.heads.ae_head import AEHead, SingleLevelAEHead
from ehrpose.models.heads.classification import ClassificationHead

__all__ = ["AEHead", "ClassificationHead", "SingleLevelAEHead"]
