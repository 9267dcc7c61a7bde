"""A schedule in iterations instead of epochs, with its runtime: AdamW, a short warm-up, then cosine annealing.

Configs that inherit from this must set `max_iters` and use an infinite sampler:
`train_dataloader = dict(sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True))`. From the hooks on, it
equals runtime/default.py, with logging and checkpoints by iteration.
"""

train_cfg = dict(type="ResumableIterBasedTrainLoop", max_iters="$max_iters", val_interval="$max_iters")
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type="LinearLR", begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=0, end="$max_iters", by_epoch=False, eta_min=1e-6),
]

default_scope = "ehrpose"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="SafeCheckpointHook",
        by_epoch=False,
        interval="$max_iters",
        save_best="coco/AP",
        rule="greater",
        max_keep_ckpts=2,
        save_last=True,
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
custom_hooks = [dict(type="NonFiniteLossHook")]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
# On the CPU, for speed: keep freed memory for reuse; train norms and depthwise convolutions in compiled kernels.
keep_freed_memory = True
cpu_kernels = True
vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(
    type="PoseVisualizer", keypoints="$keypoints", vis_backends="$vis_backends", name="visualizer"
)

# Values that match the pattern are logged as the mean over the window, others as of the last batch.
log_processor = dict(
    type="LogProcessor", window_size=50, by_epoch=False, mean_pattern=r".*(loss|time|grad_norm|acc_).*"
)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
