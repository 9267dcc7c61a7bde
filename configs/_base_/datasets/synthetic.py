"""The synthetic dataset: cartoon people rendered by ehrpose, one scene per seed and index.

Skeleton and metric come from coco.py.
"""

_base_ = "coco.py"

image_size = 256
num_people = (1, 4)
# Standing height as a fraction of the image's side; the other three, 0 to 1, set how difficult scenes are.
person_height = (0.3, 0.9)
occlusion = 0.5
clutter = 0.5
pose_variety = 1.0

affine = dict(
    type="BottomUpAffine", codec="$codec", rotate=15, scale=(0.85, 1.2), scale_type="short", shift=8
)
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        _delete_=True,
        type="SyntheticPeople",
        keypoints="$keypoints",
        length=4000,
        seed=0,
        image_size="$image_size",
        num_people="$num_people",
        person_height="$person_height",
        occlusion="$occlusion",
        clutter="$clutter",
        pose_variety="$pose_variety",
        pipeline=[
            dict(type="LoadImage"),
            "$affine",
            dict(type="RandomFlip", prob=0.5, keypoints="$keypoints"),
            dict(type="EncodeTargets", codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        _delete_=True,
        type="SyntheticPeople",
        keypoints="$keypoints",
        length=200,
        # Another seed: no training scene occurs here.
        seed=1,
        image_size="$image_size",
        num_people="$num_people",
        person_height="$person_height",
        occlusion="$occlusion",
        clutter="$clutter",
        pose_variety="$pose_variety",
        test_mode=True,
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpResize", codec="$codec", size_divisor=32),
            dict(type="PackPose"),
        ],
    ),
)
test_dataloader = val_dataloader
