"""The 14 keypoints of CrowdPose, for the `--keypoints` option of tools."""

_base_ = "../datasets/crowdpose.py"
