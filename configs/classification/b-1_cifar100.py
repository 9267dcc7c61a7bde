"""B-1 on CIFAR-100 at 195 px, as in the paper's Table 2."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/cifar100.py",
    "../_base_/schedules/classification_200e.py",
    "../_base_/runtime/classification.py",
]

phi = -1
input_size = 195
