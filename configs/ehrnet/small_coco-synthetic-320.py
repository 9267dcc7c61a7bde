"""As small_coco-320.py, with drawn scenes beside the photos, one in five: docs/experiments/shipped_models.md has what they gave."""

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
