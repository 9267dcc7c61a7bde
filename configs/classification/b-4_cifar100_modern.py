"""B-4 on CIFAR-100 at 128 px, by a present-day recipe."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/cifar100.py",
    "../_base_/schedules/classification_modern.py",
    "../_base_/runtime/classification_ema.py",
]

phi = -4
input_size = 128
