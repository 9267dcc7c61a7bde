"""A compact EfficientNet of any phi as a classifier.

Configs that inherit from this set `phi` and `input_size`; `num_classes` is the data set's, the rest the recipe's, which
is in `_base_/schedules`.
"""

model = dict(
    _scope_="ehrpose",
    type="ImageClassifier",
    data_preprocessor=dict(
        type="LabelPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        mixup="$mixup",
        num_classes="$num_classes",
    ),
    backbone=dict(type="EfficientNet", phi="$phi", drop_connect="$drop_connect"),
    num_classes="$num_classes",
    head=dict(dropout=0.2, loss=dict(type="ClassLoss", label_smoothing="$label_smoothing")),
    init_cfg="$first_weights",
)
channels_last = True
