"""The 17 keypoints of COCO, for the `--keypoints` option of the tools."""

_base_ = "../datasets/coco.py"
