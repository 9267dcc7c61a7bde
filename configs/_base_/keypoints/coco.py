"""The 17 keypoints of COCO, for the `--keypoints` option of tools."""

_base_ = "../datasets/coco.py"
