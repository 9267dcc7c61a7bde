"""Overfitting check of training, grouping and decoding: H-4 at 256 px from random weights, trained and tested on the
same eight photos.

The photos have 2 to 6 people each. The AP must approach that of perfect maps
(`tools/analysis_tools/codec_ceiling.py --config` with this file).
"""

_base_ = [
    "../_base_/phi/h-4.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/iterations.py",
]

codec = dict(input_size=256, unbiased=True, mode="fast")
model = dict(
    backbone=dict(drop_connect=0.0),
    neck=dict(init_std=None),
    head=dict(
        init_std=None,
        tag_init_std=0.05,
        # Positions come from stride 2, which has four times the pixels: weight 4 lets both levels learn equally.
        heatmap_loss=[dict(type="HeatmapLoss"), dict(type="HeatmapLoss", weight=4.0)],
        tag_loss=dict(type="AELoss", pull=1e-3, push=1e-2, radius=1),
    ),
    flip_test=False,
)

# The first eight photos of coco-mini's training part with a long side of 448 px and 2 to 6 people, each of them with
# at least eight labelled keypoints.
photos = [49, 77, 165, 257, 315, 328, 338, 488]  # image ids
fit = dict(type="BottomUpAffine", codec="$codec", scale_type="long", prob=0.0)
max_iters = 1500
channels_last = True
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(
        image_ids="$photos",
        pipeline=[
            dict(type="LoadImage"),
            "$fit",
            dict(type="EncodeTargets", codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file="annotations/person_keypoints_train2017.json",
        data_prefix=dict(img="train2017/"),
        image_ids="$photos",
        pipeline=[dict(type="LoadImage"), "$fit", dict(type="PackPose")],
    ),
)
test_dataloader = val_dataloader

train_cfg = dict(val_interval=500)
optim_wrapper = dict(_delete_=True, optimizer=dict(type="Adam", lr=2e-3))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=50, start_factor=0.1, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end="$max_iters", by_epoch=False, eta_min=1e-5),
]
default_hooks = dict(checkpoint=dict(interval=500))
