"""B-4 on scikit-learn's digits at 32 px: real images, a few minutes on two CPU cores."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/labels_in_memory.py",
    "../_base_/schedules/short.py",
]

phi = -4
input_size = 32
num_classes = 10
max_iters = 600

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="RandomResizedCrop", size="$input_size", scale=(0.7, 1.0), aspect=(0.85, 1.18), rotate=10),
    dict(type="PackLabel"),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="CenterSquare", size="$input_size", share=1.0),
    dict(type="PackLabel"),
]
train_dataloader = dict(dataset=dict(type="Digits", split="train", image_size="$input_size"))
val_dataloader = dict(dataset=dict(type="Digits", split="test", image_size="$input_size"))
test_dataloader = val_dataloader
