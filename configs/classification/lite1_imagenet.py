"""EfficientNet-Lite1 on ImageNet at 256 px, for its published weights: see docs/classification.md."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/classification_200e.py",
    "../_base_/runtime/classification.py",
]

input_size = 256
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(_delete_=True, type="EfficientNetLite", width=1.0, depth=1.1),
    lite=True,
)
