"""The small model on five keypoints at 128 px, from the weights of ehrnet-small: docs/custom_skeleton.md."""

_base_ = [
    "../_base_/models/ehrnet.py",
    "../_base_/datasets/five.py",
    "../_base_/runtime/default.py",
]

codec = dict(input_size=128, unbiased=True, mode="fast")
max_iters = 400
channels_last = True

# The network of small_coco-256.py. All but the last layers, which have a channel for each keypoint, fits its weights.
model = dict(
    init_cfg=dict(type="Pretrained", checkpoint="ehrnet-small", min_match=0.9),
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(_delete_=True, type="EfficientNetLite", phi=0, drop_connect=0.0, frozen_stages=2),
    neck=dict(
        _delete_=True,
        type="HighResolutionNeck",
        channels=(24, 40, 80, 120),
        num_modules=(1, 1, 2),
        num_blocks=1,
        init_std=None,
    ),
    head=dict(
        num_blocks=1,
        init_std=None,
        tag_init_std=0.05,
        heatmap_loss=[dict(type="HeatmapLoss"), dict(type="HeatmapLoss", weight=4.0)],
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-2, radius=1),
    ),
    flip_test=False,
)

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpAffine", codec="$codec", rotate=15, scale=(0.8, 1.2), shift=8),
            dict(type="RandomFlip", prob=0.5, keypoints="$keypoints"),
            dict(type="EncodeTargets", codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
)
val_dataloader = dict(num_workers=1)
test_dataloader = val_dataloader

train_cfg = dict(type="ResumableIterBasedTrainLoop", max_iters="$max_iters", val_interval="$max_iters")
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=20, start_factor=0.01, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end="$max_iters", by_epoch=False, eta_min=1e-6),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval="$max_iters"))
log_processor = dict(by_epoch=False)
