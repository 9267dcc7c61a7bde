"""The small model, with MoveNet MultiPose as its teacher.

Its neck's map also learns to predict MoveNet's features and heatmaps. Only training needs its file, which is
Apache-2.0; see docs/training.md.
"""

_base_ = ["small_coco-256.py"]

model = dict(
    type="DistilledEstimator",
    teacher=dict(
        type="OnnxTeacher",
        file="data/pretrained/movenet_multipose_lightning.onnx",
        layout="nhwc",
        outputs=[
            "StatefulPartitionedCall/center_net_mobile_net_v2fpn_feature_extractor/model_1/re_lu_2/Relu:0",
            "StatefulPartitionedCall/Sigmoid_1:0",
        ],
        channels=[24, 17],
    ),
    distillation_loss=dict(type="MapDistillationLoss", weight=4e-3),
)
