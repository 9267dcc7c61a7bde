"""COCO keypoints in `data/coco`: the skeleton, the data loaders and the metric.

Configs for other data in COCO format inherit from this and set `data_root` and `keypoints`. Transforms take all sizes
from the codec. Source of the sigmas: the COCO keypoint evaluation. The grouping order visits head and trunk before
limbs.
"""

data_root = "data/coco/"

train_dataloader = dict(
    batch_size=24,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="CocoPoseDataset",
        data_root="$data_root",
        ann_file="annotations/person_keypoints_train2017.json",
        data_prefix=dict(img="train2017/"),
        keypoints="$keypoints",
        pipeline=[
            dict(type="LoadImage"),
            dict(
                type="BottomUpAffine",
                codec="$codec",
                rotate=30,
                scale=(0.75, 1.5),
                scale_type="short",
                shift=40,
            ),
            dict(type="RandomFlip", prob=0.5, keypoints="$keypoints"),
            dict(type="EncodeTargets", codec="$codec"),
            dict(type="PackPose"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="CocoPoseDataset",
        data_root="$data_root",
        ann_file="annotations/person_keypoints_val2017.json",
        data_prefix=dict(img="val2017/"),
        keypoints="$keypoints",
        test_mode=True,
        pipeline=[
            dict(type="LoadImage"),
            dict(type="BottomUpResize", codec="$codec", size_divisor=64),
            dict(type="PackPose"),
        ],
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CocoMetric", keypoints="$keypoints")
test_evaluator = val_evaluator

keypoints = dict(
    dataset_name="coco",
    names=[
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ],
    swap=[
        ("left_eye", "right_eye"),
        ("left_ear", "right_ear"),
        ("left_shoulder", "right_shoulder"),
        ("left_elbow", "right_elbow"),
        ("left_wrist", "right_wrist"),
        ("left_hip", "right_hip"),
        ("left_knee", "right_knee"),
        ("left_ankle", "right_ankle"),
    ],
    skeleton=[
        ("left_ankle", "left_knee"),
        ("left_knee", "left_hip"),
        ("right_ankle", "right_knee"),
        ("right_knee", "right_hip"),
        ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"),
        ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"),
        ("right_shoulder", "right_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_elbow", "right_wrist"),
        ("left_eye", "right_eye"),
        ("nose", "left_eye"),
        ("nose", "right_eye"),
        ("left_eye", "left_ear"),
        ("right_eye", "right_ear"),
        ("left_ear", "left_shoulder"),
        ("right_ear", "right_shoulder"),
    ],
    sigmas=[
        *(0.026, 0.025, 0.025, 0.035, 0.035),
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ],
    order=[
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
        *("left_hip", "right_hip"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ],
    keypoint_colors=[
        *([51, 153, 255],) * 5,
        *([0, 255, 0], [255, 128, 0]) * 6,
    ],
    # Medians of 12,609 labelled people (`ehrpose check` prints them).
    limb_lengths=[
        *(1.53, 1.50, 1.53, 1.50, 0.77, 1.99, 1.99, 1.17, 1.08, 1.08, 0.90, 0.90),
        *(0.27, 0.20, 0.20, 0.34, 0.34, 0.85, 0.85),
    ],
    limb_colors=[
        *([0, 255, 0], [0, 255, 0], [255, 128, 0], [255, 128, 0]),
        *([51, 153, 255],) * 4,
        *([0, 255, 0], [255, 128, 0], [0, 255, 0], [255, 128, 0]),
        *([51, 153, 255],) * 7,
    ],
)
