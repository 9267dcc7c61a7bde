"""As small_coco-320.py, but one sample in five is synthetic; results: docs/experiments/shipped_models.md."""

_base_ = "small_coco-320.py"

_photos = _base_.train_dataloader.dataset
_scenes = dict(
    type="SyntheticPeople",
    keypoints="$keypoints",
    length=1160,
    image_size=448,
    num_people=(1, 5),
    pipeline=_photos.pipeline,
)
train_dataloader = dict(
    dataset=dict(_delete_=True, type="CombinedDataset", datasets=[_photos, _scenes]),
)
del _photos, _scenes
