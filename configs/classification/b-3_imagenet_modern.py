"""B-3 on ImageNet at 145 px, by a present-day recipe."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/classification_modern.py",
    "../_base_/runtime/classification_ema.py",
]

phi = -3
input_size = 145
