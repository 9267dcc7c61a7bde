"""Photos without labels, to learn from another network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ehrpose.datasets.classification.folders import photos_below
from ehrpose.datasets.classification.label_dataset import PhotoLabelDataset
from ehrpose.registry import DATASETS


@DATASETS.register_module()
class UnlabelledPhotos(PhotoLabelDataset):
    """All photos of a folder and of those below it; labels are 0.

    Args:
        data_root: Folder of the data set.
        folder: Folder of the photos below it.
        kwargs: Arguments of PhotoLabelDataset.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: It has no photos.
    """

    dataset_name = "photos"

    def __init__(self, data_root: str, folder: str = "", **kwargs: Any):
        self.folder = folder
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the photos, one item each."""
        folder = Path(self.data_root, self.folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"photo folder not found: {folder}; check data_root and folder")
        paths = photos_below(folder)
        if not paths:
            raise ValueError(f"no photos in {folder}")
        return [{"img_id": n, "img_path": path, "gt_label": 0} for n, path in enumerate(paths, start=1)]
