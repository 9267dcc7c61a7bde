"""HigherHRNet-W48 with unbiased (UDP) targets on COCO keypoints at 512 px."""

_base_ = [
    "../_base_/models/higherhrnet.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/300e.py",
    "../_base_/runtime/default.py",
]

# As mmpose, which trained the published weights, refines positions.
codec = dict(unbiased=True, refine="dark")
model = dict(backbone=dict(width=48))
