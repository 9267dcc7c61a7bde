"""CrowdPose in `data/crowdpose`: trained on train and val together, tested on test, as is the custom."""

_base_ = ["coco_form.py", "../keypoints/crowdpose.py"]

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
