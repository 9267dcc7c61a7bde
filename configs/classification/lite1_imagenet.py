"""EfficientNet-Lite1 on ImageNet at 256 px, for its published weights: see docs/classification.md."""

_base_ = ["lite0_imagenet.py"]

input_size = 256
model = dict(backbone=dict(depth=1.1))
