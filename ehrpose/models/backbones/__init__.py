from ehrpose.models.backbones.efficientnet import EfficientNet, EfficientNetLite

__all__ = ["EfficientNet", "EfficientNetLite"]
