"""The paper's recipe of its classifiers, section 4.1.

SGD with weight decay 1e-4, 5 epochs of warm-up from 1e-4 to 0.05, then 195 with a tenth every 30; Xavier's first
weights; random rotation, crops of random scale and aspect, colour jitter, PCA lighting. The strengths of these, batch
size and momentum are those of other trainings on ImageNet: we know none of the paper's.
"""

label_smoothing = 0.0
mixup = 0.0
drop_connect = 0.2
first_weights = dict(type="Xavier", layer=["Conv2d", "Linear"], distribution="uniform")

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="RandomResizedCrop", size="$input_size", scale=(0.08, 1.0), aspect=(0.75, 1.3333), rotate=10),
    dict(
        type="PhotometricDistortion",
        brightness=0,
        contrast=(0.6, 1.4),
        saturation=(0.6, 1.4),
        hue=0,
        prob=1.0,
    ),
    dict(type="PcaLighting", deviation=0.1),
    dict(type="PackLabel"),
]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=200, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.002, begin=0, end=5, by_epoch=True, convert_to_iter_based=True),
    dict(type="StepLR", step_size=30, gamma=0.1, begin=5, end=200, by_epoch=True),
]
# The learning rate is for this total batch size; `--auto-scale-lr` scales it to the actual one.
auto_scale_lr = dict(base_batch_size=256, enable=False)
