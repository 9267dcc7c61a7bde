"""The small model, trained further at 320 px from the shipped weights, tested at 320 px.

Windows are mostly centred on people, targets as wide as OKS tolerates: see docs/experiments/shipped_models.md.
"""

_base_ = [
    "../_base_/models/small.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/iterations.py",
]

# Ranking, grouping and target widths: see docs/codec.md.
codec = dict(
    input_size=320,
    oks_sigma=0.5,
    nms_oks=0.5,
    place_weight=1.5,
    score_power=2.0,
    score_size=0.25,
    pair_ratio=0.5,
    max_limb=1.3,
)
test_size = 320
max_iters = 1400

model = dict(
    init_cfg=dict(type="Pretrained", checkpoint="ehrnet-small"),
    backbone=dict(init_cfg=None),
    head=dict(smooth_sigmas=(1.5, 2.0)),
)

train_dataloader = dict(
    batch_size=16,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(
        min_keypoints=3,
        pipeline=[
            dict(type="LoadImage"),
            dict(
                type="BottomUpAffine",
                codec="$codec",
                rotate=30,
                scale=(0.65, 1.35),
                shift=40,
                stretch=0.15,
                on_person=0.7,
            ),
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

optim_wrapper = dict(optimizer=dict(lr=6e-4))
default_hooks = dict(checkpoint=dict(interval=250))
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.001, gamma=10, update_buffers=True),
    dict(type="NonFiniteLossHook"),
]
