"""SLEAP's .slp files, through the package sleap-io."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, check_unique, empty_keypoints
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels.label_format import LabelFormat, labelled_keypoints
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.new_labels import NewLabels
from ehrpose.registry import LABEL_FORMATS

# An .slp file is HDF5.
_MAGIC = b"\x89HDF\r\n\x1a\n"
_NAME = "labels.slp"


@LABEL_FORMATS.register_module(name="sleap")
class SleapLabels(LabelFormat):
    """An .slp file with its photos, or a .pkg.slp that contains them."""

    title = "SLEAP"
    docs = (
        "`.slp` and `.pkg.slp`, through sleap-io (`pip install ehrpose[labels]`). A point that is not visible is a "
        "hidden keypoint."
    )
    holds = frozenset(("hidden keypoints", "order of keypoints", "limbs", "mirror pairs"))

    def check(self, path: Union[str, Path]) -> Optional[str]:
        file = _find(Path(path))
        if file is None:
            return "expected an .slp file, or a folder with one"
        with file.open("rb") as stream:
            return (
                None
                if stream.read(len(_MAGIC)) == _MAGIC
                else "expected an .slp file in HDF5, got another content"
            )

    def _read(self, path: Path, how: Reading) -> LabelSet:
        file = _find(path)
        assert file is not None  # check() found it
        sio = sleap_io()
        try:
            labels = sio.load_slp(str(file))
        except Exception as error:  # h5py and sleap-io raise errors of many types
            raise ValueError(f"{file}: sleap-io cannot read it: {error}") from error
        if not labels.skeletons:
            raise ValueError(f"{file}: expected a skeleton, got none")
        skeleton = labels.skeletons[0]
        meta = how.meta_or(lambda: _keypoints(skeleton, how))
        photos = []
        for frame in labels.labeled_frames:
            photo, name, content = _photo_of(frame, file, how)
            own = frame.user_instances or frame.predicted_instances
            people = [_person(i, how.columns(skeleton.node_names, meta), meta) for i in own]
            photos.append(LabelledPhoto(photo, name, None, people, f"{file}: {name}", content))
        check_unique(photos)
        return LabelSet(meta, {"train": photos})

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        sio = sleap_io()
        nodes = [sio.Node(name) for name in new.meta.names]
        skeleton = sio.Skeleton(
            nodes=nodes,
            edges=[sio.Edge(nodes[i], nodes[j]) for i, j in new.meta.skeleton],
            symmetries=[
                sio.Symmetry([nodes[i], nodes[j]]) for i, j in enumerate(new.meta.flip_indices) if i < j
            ],
            name="person",
        )
        placed: List[Tuple[LabelledPhoto, str]] = []
        size = (0, 0)
        for split, photos in labels.splits.items():
            folder = f"images/{split}" if len(labels.splits) > 1 else "images"
            for photo in photos:
                found = new.place(photo, folder)
                if found is not None:
                    size = size if placed else found
                    placed.append((photo, f"{folder}/{photo.name}"))
        # The file names photos by their full paths.
        root = new.out.resolve()
        video = _video(sio, [str(root / place) for _, place in placed], size)
        frames = []
        for number, (photo, _) in enumerate(placed):
            people = [p for p in photo.people if not p.crowd]
            instances = [_instance(sio, person, skeleton) for person in people]
            frames.append(sio.LabeledFrame(video=video, frame_idx=number, instances=instances))
        made = sio.Labels(labeled_frames=frames, videos=[video], skeletons=[skeleton])
        sio.save_slp(made, str(new.folder / _NAME), embed=False, verbose=False)


def sleap_io() -> Any:
    """Return the package sleap-io.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import sleap_io as package
    except ImportError as error:
        raise ValueError("SLEAP files need the package sleap-io: pip install 'ehrpose[labels]'") from error
    return package


def _find(path: Path) -> Optional[Path]:
    if path.is_file():
        return path if path.suffix.lower() == ".slp" else None
    found = sorted(path.glob("*.slp"))
    return found[0] if found else None


def _keypoints(skeleton: Any, how: Reading) -> Dict[str, Any]:
    names = [how.name_of(name) for name in skeleton.node_names if name not in how.ignore]
    limbs = [(how.name_of(edge.source.name), how.name_of(edge.destination.name)) for edge in skeleton.edges]
    config = guess_keypoints("person", names, [limb for limb in limbs if set(limb) <= set(names)])
    pairs = [tuple(sorted((how.name_of(n.name) for n in s.nodes), key=_side)) for s in skeleton.symmetries]
    pairs = [pair for pair in dict.fromkeys(pairs) if set(pair) <= set(names)]
    return {**config, "swap": pairs} if pairs else config


def _side(name: str) -> Tuple[bool, str]:
    return "right" in name.lower(), name


def _photo_of(frame: Any, file: Path, how: Reading) -> Tuple[Path, str, Optional[bytes]]:
    """Return a frame's photo: its path and name, and its content if no file has it."""
    source = frame.video.filename
    if isinstance(source, list):
        path = Path(source[frame.frame_idx].replace("\\", "/"))
        if path.is_file() and how.photos is None:
            inside = file.parent.resolve() in path.resolve().parents
            relative = path.resolve().relative_to(file.parent.resolve()) if inside else Path(path.name)
            parts = relative.parts[1:] if relative.parts[0] == "images" else relative.parts
            return path, "/".join(parts), None
        return how.search(file.parent).find(path.name), path.name, None
    name = f"{Path(str(source)).name.split('.')[0]}_{frame.frame_idx:06d}.png"
    try:
        image = np.asarray(frame.image)
    except Exception as error:  # of any video backend
        raise ValueError(f"{file}: frame {frame.frame_idx} of {source} cannot be read: {error}") from error
    return file.parent / name, name, _png(image)


def _png(image: np.ndarray) -> bytes:
    import cv2

    if image.ndim == 3 and image.shape[2] == 3:
        image = image[..., ::-1]  # OpenCV's order is BGR
    _, data = cv2.imencode(".png", np.ascontiguousarray(image))
    return bytes(data)


def _person(instance: Any, columns: List[Optional[int]], meta: KeypointMeta) -> LabelledPerson:
    keypoints = empty_keypoints(meta.num_keypoints)
    points = instance.points
    for column, xy, visible in zip(columns, np.asarray(points["xy"], np.float64), points["visible"]):
        if column is not None and np.isfinite(xy).all():
            keypoints[column] = (*xy, 2 if visible else 1)
    score = getattr(instance, "score", None)
    return LabelledPerson(keypoints, score=None if score is None else float(score))


def _instance(sio: Any, person: LabelledPerson, skeleton: Any) -> Any:
    points = np.full((len(skeleton.nodes), 2), np.nan)
    found = labelled_keypoints(person)
    for k, x, y, _ in found:
        points[k] = x, y
    instance = sio.Instance.from_numpy(points, skeleton=skeleton)
    for k, _, _, v in found:
        instance.points["visible"][k] = v == 2
    return instance


def _video(sio: Any, paths: List[str], size: Tuple[int, int]) -> Any:
    """Return a sequence of photos, which are not opened: they come to these paths when all is written."""
    video = sio.Video.from_filename(paths)
    video.backend_metadata = {"shape": [len(paths), size[1], size[0], 3], "grayscale": False}
    return video
