"""`make demo`: a very small EfficientHRNet on the embedded data set, some minutes on two CPU cores."""

_base_ = [
    "../_base_/models/ehrnet.py",
    "../_base_/datasets/synthetic.py",
    "../_base_/runtime/default.py",
]

phi = -5
image_size = 128
num_people = (1, 3)
person_height = (0.5, 0.95)
codec = dict(input_size=128, unbiased=True, mode="fast")
model = dict(backbone=dict(drop_connect=0.0), head=dict(tag_init_std=0.05), flip_test=False)

train_dataloader = dict(batch_size=16)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=6, val_interval=2)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type="Adam", lr=2e-3))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=50, start_factor=0.1, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end=6, by_epoch=True, convert_to_iter_based=True, eta_min=1e-5),
]
