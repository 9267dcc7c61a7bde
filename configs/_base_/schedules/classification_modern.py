"""A present-day recipe in place of the paper's: label smoothing, mixup, RandAugment, mirrored images and a cosine.

It is a light form of arXiv:2110.00476, as the networks are small; runtime/classification_ema.py averages the weights.
It has not been run on ImageNet here.
"""

label_smoothing = 0.1
mixup = 0.1
drop_connect = 0.1
# Kaiming's, which the layers have by themselves.
first_weights = None

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="RandomResizedCrop", size="$input_size", scale=(0.25, 1.0), aspect=(0.75, 1.3333)),
    dict(type="RandomMirror", prob=0.5),
    dict(type="RandAugment", number=2, magnitude=6),
    dict(type="PackLabel"),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=200, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=2e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=5, by_epoch=True, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=5, end=200, by_epoch=True, convert_to_iter_based=True, eta_min=1e-5),
]
# The learning rate is for this total batch size; `--auto-scale-lr` scales it to the actual one.
auto_scale_lr = dict(base_batch_size=256, enable=False)
