"""The 14 keypoints of CrowdPose, for the `--keypoints` option of the tools."""

_base_ = "../datasets/crowdpose.py"
