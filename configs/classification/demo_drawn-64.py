"""A very small classifier on drawn shapes at 64 px: needs no data, a few minutes on two CPU cores."""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/labels_in_memory.py",
    "../_base_/schedules/short.py",
]

phi = -8
input_size = 64
num_classes = 20
max_iters = 1200

train_pipeline = [dict(type="LoadImage"), dict(type="RandomMirror", prob=0.5), dict(type="PackLabel")]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="CenterSquare", size="$input_size", share=1.0),
    dict(type="PackLabel"),
]
train_dataloader = dict(
    dataset=dict(type="DrawnShapes", length=100000, seed=0, image_size="$input_size"),
)
# Another seed: no image of the training occurs here.
val_dataloader = dict(dataset=dict(type="DrawnShapes", length=1000, seed=1, image_size="$input_size"))
test_dataloader = val_dataloader
