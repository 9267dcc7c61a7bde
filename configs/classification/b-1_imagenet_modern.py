"""B-1 on ImageNet at 195 px, by a present-day recipe."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/classification_modern.py",
    "../_base_/runtime/classification_ema.py",
]

phi = -1
input_size = 195
