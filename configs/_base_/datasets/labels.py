"""Images with one class each: data loaders and metric, without the data.

Configs that inherit from this set `input_size` and the datasets; `train_pipeline` is part of the recipe, which is in
`_base_/schedules`.
"""

test_pipeline = [
    dict(type="LoadImage"),
    dict(type="CenterSquare", size="$input_size", share=0.875),
    dict(type="PackLabel"),
]

train_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(pipeline="$train_pipeline"),
)
# The paper tests with batch 1.
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(pipeline="$test_pipeline", test_mode=True),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="AccuracyMetric", topk=(1, 5))
test_evaluator = val_evaluator
