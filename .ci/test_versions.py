"""Run the part without torch with old and new versions of Python, OpenCV, NumPy and ONNX Runtime, and compare.

The sections of requirements/versions.txt are the environments. Each runs the same files, the shipped network and its
form with candidates, over the same inputs, the same drawn scenes, and the photos of COCO's val2017 if they are there.
The people found in the same input must be the newest's in every environment. From a photo on OpenCV counts: 5 warps
exactly and 4 to 1/32 px, so those of one major version must agree with each other, and all in AP.

Usage: PIP_ARGS="..." python .ci/test_versions.py VENV [--limit PHOTOS]
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from check_dist import find_python

from ehrpose.assignment import linear_sum_assignment
from ehrpose.config_names import find_config, weights_of
from ehrpose.datasets.coco_json import read_coco_json
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.deploy.pipeline import ExportOptions, export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.evaluation.coco_metric import CocoMetric
from ehrpose.image_io import read_image
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People

ROOT = Path(__file__).parents[1]
LIST = ROOT / "requirements" / "versions.txt"
COCO = ROOT / "data" / "coco"
MODEL = "ehrnet-small"
NUM_SCENES, NUM_KEYPOINTS = 12, 17
# Largest distance of a keypoint from the newest's, px of the network's input, and difference of AP.
MAX_PX, MAX_AP = 0.5, 0.002
COLUMNS = (
    "environment", "Python", "OpenCV", "NumPy", "ONNX Runtime", "output", "people, same input",
    "people, same OpenCV major", "people, drawn", "people, COCO", "keypoints within 0.5 px, COCO", "AP",
)  # fmt: skip


class Environment(NamedTuple):
    """A section of the list: its name, its Python and what is pinned."""

    name: str
    python: str
    packages: list[str]


class Work(NamedTuple):
    """What each environment is given: a folder, photos (drawn ones first), labels of the others, their skeleton."""

    folder: Path
    photos: list[Path]
    items: list[dict[str, Any]]
    meta: KeypointMeta


class Likeness(NamedTuple):
    """People of one environment against those of the newest.

    Attributes:
        num_people: People that the newest finds.
        num_alike: Of these, those with all of their keypoints within MAX_PX, and no other ones.
        share: Share of the newest's keypoints that are within MAX_PX.
        num_found: People found here.
    """

    num_people: int
    num_alike: int
    share: float
    num_found: int


def environments() -> list[Environment]:
    """Return the sections of the list, the newest last."""
    found: list[Environment] = []
    for line in LIST.read_text(encoding="utf-8").splitlines():
        header = re.fullmatch(r"# \[(\w+)\] (3\.\d+)", line.strip())
        if header:
            found.append(Environment(header[1], header[2], []))
        elif line.strip() and not line.startswith("#"):
            found[-1].packages.append(line.strip())
    return found


def installed(venv: Path, environment: Environment) -> Path:
    """Return the Python of an environment, made now unless it is there with these packages."""
    folder = venv.with_name(f"{venv.name}-versions-{environment.name}")
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8").splitlines() == environment.packages:
        return python
    base = find_python(environment.python)
    if base is None:
        sys.exit(
            f"expected Python {environment.python} on the PATH or from pyenv for {environment.name}: install it"
        )
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    given = shlex.split(os.environ.get("PIP_ARGS", ""))
    runtime = ["-r", ROOT / "requirements" / "runtime.txt"]
    subprocess.run([*pip, *given, *runtime, *environment.packages], check=True)
    stamp.write_text("\n".join(environment.packages) + "\n", encoding="utf-8")
    return python


def draw_scenes(folder: Path, meta: KeypointMeta) -> list[Path]:
    """Write photos of drawn people; PNG, which all versions decode alike."""
    scenes = SyntheticPeople(meta, length=NUM_SCENES, image_size=480, num_people=(2, 4))
    paths = []
    for index in range(NUM_SCENES):
        paths.append(folder / f"{index:02d}.png")
        # Some as wide photos, some upright.
        image = scenes.get_data_info(index)["img"][: 480 - 120 * (index % 3)]
        cv2.imwrite(str(paths[-1]), image if index % 2 else np.ascontiguousarray(image.transpose(1, 0, 2)))
    return paths


def run(python: Path, network: Path, photos: list[Path], folder: Path) -> dict[str, Any]:
    """Return the versions of an environment and the people that it finds in each photo."""
    (folder / "photos.txt").write_text("\n".join(map(str, photos)), encoding="utf-8")
    command = [
        python,
        ROOT / ".ci" / "versions_worker.py",
        folder / "out.json",
        network,
        folder / "photos.txt",
    ]
    command.append(folder / "inputs.npz")
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    found: dict[str, Any] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    for photo in found["photos"]:
        photo["people"] = People(
            np.array(photo["keypoints"], np.float32).reshape(-1, NUM_KEYPOINTS, 2),
            np.array(photo["keypoint_scores"], np.float32).reshape(-1, NUM_KEYPOINTS),
            np.array(photo["scores"], np.float32),
        )
    return found


def likeness(ours: list[dict[str, Any]], newest: list[dict[str, Any]]) -> Likeness:
    """Compare the people of photos."""
    people = alike = found = near = keypoints = 0
    for one, other in zip(ours, newest):
        found, people = found + len(one["people"]), people + len(other["people"])
        has = other["people"].keypoint_scores > 0
        keypoints += int(has.sum())
        if not len(one["people"]) or not len(other["people"]):
            continue
        apart = np.linalg.norm(one["people"].keypoints[:, None] - other["people"].keypoints[None], axis=3)
        both = (one["people"].keypoint_scores > 0)[:, None] & has[None]
        close = (both & (apart * other["scale"] <= MAX_PX)).sum(axis=2)
        rows, columns = linear_sum_assignment(-close.astype(float))
        near += int(close[rows, columns].sum())
        counts = np.maximum((one["people"].keypoint_scores > 0).sum(axis=1)[rows], has.sum(axis=1)[columns])
        alike += int((close[rows, columns] == counts).sum())
    return Likeness(people, alike, near / max(keypoints, 1), found)


def average_precision(photos: list[dict[str, Any]], items: list[dict[str, Any]], meta: KeypointMeta) -> float:
    """Return COCO AP of the people in photos."""
    metric = CocoMetric(keypoints=meta)
    for item, photo in zip(items, photos):
        sample = {**item, "pred_instances": photo["people"].to_fields()}
        metric.process(
            {}, [{key: sample[key] for key in ("img_id", "ori_shape", "raw_anns", "pred_instances")}]
        )
    return float(metric.evaluate(len(items))["coco/AP"])


def coco_items(limit: int | None, meta: KeypointMeta) -> list[dict[str, Any]]:
    """Return the labelled photos of val2017; none if they are not there."""
    labels = COCO / "annotations" / "person_keypoints_val2017.json"
    if not labels.is_file():
        print("no photos in data/coco: drawn scenes only")
        return []
    items: list[dict[str, Any]] = list(read_coco_json(labels, meta, need_annotations=True)[0])[:limit]
    for item in items:
        item["path"] = COCO / "val2017" / item["file_name"]
        item["ori_shape"] = (item["height"], item["width"])
    return items


def problems_of(name: str, same: Likeness, kin: Likeness, gap: float) -> list[str]:
    """Return what is beyond the limits: for the same inputs, for the same major version of OpenCV, and in AP."""
    found = []
    for what, one in (("inputs", same), ("photos and major version of OpenCV", kin)):
        if one.num_people == 0 or not one.num_alike == one.num_people == one.num_found:
            found.append(f"{name}: of the same {what} people differ: {one}")
    if abs(gap) > MAX_AP:
        found.append(f"{name}: AP differs by {gap:+.4f}")
    return found


def row_of(name: str, form: str, ours: dict[str, Any], parts: dict[str, Likeness], ap: float) -> str:
    """Return a row of the printed table."""
    alike = " | ".join(f"{one.num_alike} of {one.num_people}" for one in parts.values())
    return f"| {name} | {' | '.join(ours['versions'])} | {form} | {alike} | {parts['photos'].share:.3f} | {ap:.4f} |"


def compare(form: str, network: Path, work: Work, venv: Path) -> list[str]:
    """Run a form everywhere, print its rows, and return what differs."""
    failed: list[str] = []
    newest: dict[str, Any] = {}
    majors: dict[str, list[dict[str, Any]]] = {}
    aps: list[float] = []
    count = len(work.photos)
    for environment in reversed(environments()):
        ours = run(installed(venv, environment), network, work.photos, work.folder)
        newest = newest or ours
        found = ours["photos"]
        kin = majors.setdefault(ours["versions"][1].split(".")[0], found)
        parts = {
            "inputs": likeness(found[count:], newest["photos"][count:]),
            "kin": likeness(found[:count], kin[:count]),
            "scenes": likeness(found[:NUM_SCENES], newest["photos"][:NUM_SCENES]),
            "photos": likeness(found[NUM_SCENES:count], newest["photos"][NUM_SCENES:count]),
        }
        aps.append(average_precision(found[NUM_SCENES:count], work.items, work.meta) if work.items else 0.0)
        print(row_of(environment.name, form, ours, parts, aps[-1]), flush=True)
        failed += problems_of(f"{environment.name}, {form}", parts["inputs"], parts["kin"], aps[-1] - aps[0])
    return failed


def main() -> None:
    """Print a row for each environment and form; exit code 1 if one differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("venv", type=Path, help="environments are made next to this one")
    parser.add_argument("--limit", type=int, help="number of COCO's photos (default: all)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (shipped,) = (ROOT / "checkpoints").glob(f"{MODEL}-*.onnx")
        with PoseRuntime(shipped) as runtime:
            meta = runtime.codec.meta
            scenes = draw_scenes(folder, meta)
            inputs = [runtime.prepare(read_image(path))[0] for path in scenes]
            np.savez(folder / "inputs.npz", *inputs)
        items = coco_items(args.limit, meta)
        work = Work(folder, [*scenes, *(item["path"] for item in items)], items, meta)
        options = ExportOptions(decode="peaks")
        done = export(str(find_config(MODEL)), str(weights_of(MODEL, None)), folder, options)
        print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
        failed = compare("maps", shipped, work, args.venv)
        failed += compare("candidates", done.path, work, args.venv)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
