"""The medium model: a deeper small model, trained further from its own weights, tested at 384 px.

Small people are larger there than at 320 px. For the results, and the 416 px windows that its weights were trained on,
see docs/experiments/shipped_models.md.
"""

_base_ = [
    "../_base_/models/small.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/iterations.py",
]

# Ranking, grouping and target widths: see docs/codec.md.
codec = dict(
    input_size=384,
    oks_sigma=0.5,
    nms_oks=0.5,
    place_weight=1.5,
    score_power=2.0,
    score_size=0.25,
    pair_ratio=0.5,
    max_limb=1.5,
)
test_size = 384
max_iters = 880

# Blocks and modules that the small model lacks start as identities.
model = dict(
    init_cfg=dict(type="Pretrained", checkpoint="ehrnet-medium", min_match=0.5),
    backbone=dict(init_cfg=None),
    neck=dict(num_modules=(1, 2, 3), num_blocks=2, zero_init_residual=True),
    head=dict(num_blocks=2, zero_init_residual=True, smooth_sigmas=(1.5, 2.0)),
)

train_dataloader = dict(
    batch_size=8,
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

optim_wrapper = dict(optimizer=dict(lr=4e-4))
default_hooks = dict(checkpoint=dict(interval=250))
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.001, gamma=10, update_buffers=True),
    dict(type="NonFiniteLossHook"),
]
