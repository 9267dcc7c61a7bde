"""HigherHRNet-W32 with unbiased (UDP) targets on COCO keypoints at 512 px."""

_base_ = [
    "../_base_/models/higherhrnet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

codec = dict(unbiased=True)
