"""Hooks, logging, seeds and the environment."""

default_scope = "ehrpose"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="SafeCheckpointHook",
        interval=1,
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
    type="LogProcessor", window_size=50, by_epoch=True, mean_pattern=r".*(loss|time|grad_norm|acc_).*"
)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
