"""B-4 learns to answer like EfficientNet-Lite0, on photos without labels: a start where ImageNet is not at hand.

The teacher's weights are converted first:
python tools/misc/convert_checkpoint.py efficientnet-lite0 data/pretrained/lite0.pth --keep-classifier
"""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/labels_in_memory.py",
    "../_base_/schedules/short.py",
]

phi = -4
input_size = 128
num_classes = 1000
max_iters = 8000
data_root = "data/coco/"

model = dict(
    type="DistilledClassifier",
    teacher=dict(
        backbone=dict(type="EfficientNetLite", phi=0, drop_connect=0.0),
        num_classes="$num_classes",
        lite=True,
        init_cfg=dict(type="Pretrained", checkpoint="data/pretrained/lite0.pth"),
    ),
    teacher_mean=[127.0, 127.0, 127.0],
    teacher_std=[128.0, 128.0, 128.0],
    logit_loss=dict(type="LogitDistillationLoss", temperature=2.0),
    feature_loss=dict(type="FeatureDistillationLoss", weight=1.0),
)

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="RandomResizedCrop", size="$input_size", scale=(0.15, 1.0), aspect=(0.75, 1.3333)),
    dict(type="RandomMirror", prob=0.5),
    dict(
        type="PhotometricDistortion",
        brightness=0,
        contrast=(0.6, 1.4),
        saturation=(0.6, 1.4),
        hue=0,
        prob=1.0,
    ),
    dict(type="PackLabel"),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(type="UnlabelledPhotos", data_root="$data_root", folder="train2017"),
)
# There are no labels to validate with; a test writes the answers.
val_cfg = val_dataloader = val_evaluator = None
test_dataloader = dict(
    dataset=dict(type="UnlabelledPhotos", data_root="$data_root", folder="val2017"),
)
test_evaluator = dict(format_only=True, outfile_prefix="work_dirs/b-4_distilled-128/answers")
default_hooks = dict(checkpoint=dict(interval=1000, save_best=None))
