"""Labels of four photos with five keypoints in COCO format: two people, a crowd, an unlabelled person, no person."""

from __future__ import annotations

K = 5
WIDTH, HEIGHT = 60, 40
PEOPLE, CROWD, UNLABELLED, EMPTY = 11, 12, 13, 14  # image ids

POLYGON = [1, 1, 20, 1, 20, 20]
RLE = {"size": [HEIGHT, WIDTH], "counts": [100, 50, WIDTH * HEIGHT - 150]}


def annotation(id_: int, image_id: int, visible=(2,) * K, **more) -> dict:
    keypoints = []
    for k, v in enumerate(visible):
        keypoints += [10 + 5 * k, 8 + 3 * k, v] if v else [0, 0, 0]
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [8, 6, 30, 20],
        "area": 300.5,
        "segmentation": [POLYGON],
        "num_keypoints": sum(v > 0 for v in visible),
        "keypoints": keypoints,
        **more,
    }


def labels() -> dict:
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT}
            for i in (PEOPLE, CROWD, UNLABELLED, EMPTY)
        ],
        "annotations": [
            annotation(1, PEOPLE),
            annotation(2, PEOPLE, (0, 1, 0, 2, 0)),
            annotation(3, CROWD),
            {"id": 4, "image_id": CROWD, "category_id": 1, "iscrowd": 1, "bbox": [0, 0, 9, 9], "area": 50,
             "segmentation": RLE},
            annotation(5, UNLABELLED, (0,) * K),
        ],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip


def ids(dataset) -> list[int]:
    return [dataset.get_data_info(i)["img_id"] for i in range(len(dataset))]


LOAD = ({"type": "LoadImage"},)
