"""Label Studio's JSON export: keypoints, rectangles and polygons in percent of the photo, with ``parentID``.

Label Studio's COCO export merges the people of a photo and orders columns by ``model_index`` but names by label; here
names are taken from each point, so ``model_index`` changes nothing. A rectangle's rotation is about its upper left
corner, clockwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union
from xml.etree import ElementTree

from ehrpose.counted import counted
from ehrpose.datasets.converters.labelled import LabelledPhoto, check_unique
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.datasets.json_values import shown
from ehrpose.labels.found_files import json_files, load
from ehrpose.labels.label_format import LabelFormat
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.label_studio_task import Tasks, is_task, photo_name
from ehrpose.labels.label_studio_writing import CONFIG, write_tasks
from ehrpose.labels.new_labels import NewLabels
from ehrpose.registry import LABEL_FORMATS


@LABEL_FORMATS.register_module(name="label-studio")
class LabelStudioLabels(LabelFormat):
    """Tasks of Label Studio, as its JSON export has them and its import takes them."""

    title = "Label Studio JSON"
    docs = (
        "The export `JSON` (not JSON-MIN): keypoints inside the rectangle of their person (`parentID`). Written as "
        "`tasks.json` with `images/` and `labeling_config.xml`; people with a score become predictions."
    )
    holds = frozenset(
        (
            "hidden keypoints",
            "boxes",
            "outlines",
            "crowds",
            "people without keypoints",
            "scores",
            "order of keypoints",
        )
    )

    def check(self, path: Union[str, Path]) -> Optional[str]:
        if _find(Path(path)) is None:
            return "expected a JSON list of tasks with 'data' and 'annotations' or 'predictions'"
        return None

    def _read(self, path: Path, how: Reading) -> LabelSet:
        file = _find(path)
        assert file is not None  # check() found it
        content = load(file)
        try:
            tasks = Tasks(content, how)
            meta = how.meta_or(lambda: guess_keypoints("person", _names(file, tasks, how)))
            search = how.search(file.parent)
            photos = []
            for number, task in enumerate(content):
                place = f"task {task.get('id', number)}"
                try:
                    photos.append(self._photo(task, tasks, meta, search, f"{file}: {place}"))
                except ValueError as error:
                    raise ValueError(f"{place}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        check_unique(photos)
        return LabelSet(meta, {"train": photos}, [f"{file}: {note}" for note in tasks.notes()])

    @staticmethod
    def _photo(
        task: Mapping[str, Any], tasks: Tasks, meta: Any, search: PhotoSearch, source: str
    ) -> LabelledPhoto:
        people, size = tasks.people(task, meta)
        name = _found_name(photo_name(task), search)
        return LabelledPhoto(search.find(name), search.name(name), size, people, source)

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        write_tasks(labels, new)


def _find(path: Path) -> Optional[Path]:
    for file in json_files(path):
        try:
            content = load(file)
        except ValueError:
            continue
        if isinstance(content, list) and content and all(map(is_task, content)):
            return file
    return None


def _found_name(name: str, search: PhotoSearch) -> str:
    """Return the photo's name; uploads have eight letters and a hyphen before the name that the photo had."""
    head, hyphen, tail = Path(name).name.partition("-")
    if hyphen and len(head) == 8 and tail:
        try:
            search.find(name)
        except (FileNotFoundError, ValueError):
            return tail
    return name


def _names(file: Path, tasks: Tasks, how: Reading) -> List[str]:
    """Return the keypoints' names, in the order of the labelling config beside the file, or else of appearance."""
    found = [how.name_of(label) for label in tasks.labels() if label not in how.ignore]
    names = list(dict.fromkeys(found))
    if not names:
        raise ValueError("expected keypoints (keypointlabels), got none; give the skeleton with `keypoints`")
    config = file.parent / CONFIG
    listed = _listed(config) if config.is_file() else []
    ordered = [how.name_of(label) for label in listed if label not in how.ignore]
    if ordered and set(names) <= set(ordered):
        return list(dict.fromkeys(ordered))
    tasks.note(
        f"{counted(len(names), 'keypoint')} in the order of their first appearance; `keypoints` gives your own"
    )
    return names


def _listed(config: Path) -> List[str]:
    try:
        root = ElementTree.parse(config).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"{config} is not valid XML: {shown(str(error))}") from error
    labels: Dict[str, None] = {}
    for group in root.iter("KeyPointLabels"):
        labels.update({label.get("value", ""): None for label in group.iter("Label")})
    return [label for label in labels if label]
