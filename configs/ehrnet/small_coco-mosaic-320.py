"""As small_coco-320.py, but half of the samples are mosaics; results: docs/experiments/shipped_models.md."""

_base_ = "small_coco-320.py"

_load, *_rest = _base_.train_dataloader.dataset.pipeline
train_dataloader = dict(
    dataset=dict(pipeline=[_load, dict(type="Mosaic", codec="$codec", prob=0.5), *_rest]),
)
del _load, _rest
