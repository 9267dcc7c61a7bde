"""The small model on five keypoints at 128 px, from the weights of ehrnet-small: see docs/custom_skeleton.md."""

_base_ = [
    "../_base_/models/small.py",
    "../_base_/datasets/five.py",
    "../_base_/schedules/iterations.py",
]

codec = dict(input_size=128)
max_iters = 400

# All layers except the last ones, which have one channel per keypoint, start from the weights of ehrnet-small.
model = dict(init_cfg=dict(type="Pretrained", checkpoint="ehrnet-small", min_match=0.9))

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

param_scheduler = [
    dict(type="LinearLR", begin=0, end=20, start_factor=0.01, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end="$max_iters", by_epoch=False, eta_min=1e-6),
]
