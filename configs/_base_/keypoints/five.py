"""The five keypoints of docs/custom_skeleton.md, for the `--keypoints` option of the tools."""

_base_ = "../datasets/five.py"
