"""The paper's schedule: 300 epochs of Adam at 1e-3, divided by 10 at epochs 200 and 260."""

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=300, val_interval=10)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type="MultiStepLR", begin=0, end=300, milestones=[200, 260], gamma=0.1, by_epoch=True),
]
# The learning rate is for this total batch size; `--auto-scale-lr` scales it to the actual one.
auto_scale_lr = dict(base_batch_size=96, enable=False)
