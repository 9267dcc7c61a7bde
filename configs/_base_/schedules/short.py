"""Classifiers that train in minutes on the CPU: AdamW, a short warm-up and a cosine, by iterations.

Configs that inherit from this set `max_iters` and `train_pipeline`, and use `_base_/datasets/labels_in_memory.py`.
"""

_base_ = "iterations.py"

label_smoothing = 0.0
mixup = 0.0
drop_connect = 0.0
first_weights = None

optim_wrapper = dict(optimizer=dict(lr=2e-3, weight_decay=0.02))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=50, start_factor=0.1, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end="$max_iters", by_epoch=False, eta_min=1e-5),
]
default_hooks = dict(checkpoint=dict(save_best="accuracy/top1"))

visualizer = dict(_delete_=True, type="LabelVisualizer", vis_backends="$vis_backends", name="visualizer")
