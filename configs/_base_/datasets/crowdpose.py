"""CrowdPose in `data/crowdpose`: trained on train and val combined, tested on test (the usual protocol).

Source of the sigmas: CrowdPose's evaluation.
"""

_base_ = "coco.py"

data_root = "data/crowdpose/"

train_dataloader = dict(
    dataset=dict(
        type="CrowdPoseDataset",
        ann_file="annotations/crowdpose_trainval.json",
        data_prefix=dict(img="images/"),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type="CrowdPoseDataset",
        ann_file="annotations/crowdpose_test.json",
        data_prefix=dict(img="images/"),
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CrowdPoseMetric", keypoints="$keypoints")
test_evaluator = val_evaluator

keypoints = dict(
    _delete_=True,
    dataset_name="crowdpose",
    names=[
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
        "head",
        "neck",
    ],
    swap=[
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
        ("left_shoulder", "left_elbow"),
        ("right_shoulder", "right_elbow"),
        ("left_elbow", "left_wrist"),
        ("right_elbow", "right_wrist"),
        ("head", "neck"),
        ("neck", "left_shoulder"),
        ("neck", "right_shoulder"),
    ],
    sigmas=[
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
        *(0.079, 0.079),
    ],
    order=[
        *("head", "neck", "left_shoulder", "right_shoulder", "left_hip", "right_hip"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ],
    keypoint_colors=[
        *([0, 255, 0], [255, 128, 0]) * 6,
        *([51, 153, 255],) * 2,
    ],
    limb_colors=[
        *([0, 255, 0], [0, 255, 0], [255, 128, 0], [255, 128, 0]),
        *([51, 153, 255],) * 3,
        *([0, 255, 0], [255, 128, 0], [0, 255, 0], [255, 128, 0]),
        *([51, 153, 255],) * 3,
    ],
)
