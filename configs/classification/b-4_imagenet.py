"""B-4 on ImageNet at 128 px, as in the paper's Table 2."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/classification_200e.py",
    "../_base_/runtime/classification.py",
]

phi = -4
input_size = 128
