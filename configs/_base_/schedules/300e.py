"""The paper's schedule: Adam at 1e-3, a tenth of it from epoch 200 and again from 260, 300 epochs."""

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=300, val_interval=10)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type="MultiStepLR", begin=0, end=300, milestones=[200, 260], gamma=0.1, by_epoch=True),
]
# The learning rate belongs to this batch in all; `--auto-scale-lr` scales it to the batch that is run.
auto_scale_lr = dict(base_batch_size=96, enable=False)
