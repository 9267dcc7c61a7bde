"""Options for drawing and output: names, defaults and checks, shared by Python and the command line."""

from __future__ import annotations

import difflib
import math
import numbers
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type, TypeVar, Union

from ehrpose.visualization import COLORINGS, STYLES

if TYPE_CHECKING:  # the help of a command needs no NumPy
    from ehrpose.structures import People

__all__ = ["DrawOptions", "OutputOptions"]

VISUALIZATIONS, PREDICTIONS = "visualizations", "predictions"
# Formats of predictions; ``ehrpose.results.writers`` has all but the first.
PREDICTION_FORMATS = ("json", "jsonl", "csv", "parquet", "coco", "openpose", "yolo", "motion", "trc")
# MMPose's names of options.
_ALIASES = {"skeleton_style": "style"}

Options = TypeVar("Options", "DrawOptions", "OutputOptions")


@dataclass(frozen=True)
class DrawOptions:
    """How people are drawn.

    Attributes:
        kpt_thr: Keypoints below this score are not drawn, 0 to 1.
        draw_bbox: Draw a box around each person.
        draw_heatmap: Overlay the heatmaps.
        draw_tags: Overlay the tags, as colours; not together with ``draw_heatmap``.
        show_score: Write each person's score.
        show_kpt_idx: Write each keypoint's index.
        show_fps: Write the frames per second.
        black_background: Draw on black.
        style: ``"mmpose"`` or ``"openpose"``, as in ``draw_people``; also called ``skeleton_style``.
        color_by: Color ``"limb"``, ``"person"``, or ``"id"`` (track ids).
        fade: Draw uncertain keypoints fainter.
        radius: Radius of a keypoint, px; None adapts it to the image and each person.
        thickness: Thickness of a limb, px; None likewise.

    Raises:
        ValueError: A value is unknown, of another kind or out of range, or two exclude each other.
    """

    kpt_thr: float = 0.3
    draw_bbox: bool = False
    draw_heatmap: bool = False
    draw_tags: bool = False
    show_score: bool = False
    show_kpt_idx: bool = False
    show_fps: bool = False
    black_background: bool = False
    style: str = "mmpose"
    color_by: str = "limb"
    fade: bool = False
    radius: Optional[float] = None
    thickness: Optional[float] = None

    def __post_init__(self) -> None:
        if self.draw_heatmap and self.draw_tags:
            raise ValueError(
                "heatmaps and tags hide each other: choose one of `draw_heatmap` and `draw_tags`"
            )
        check_number("kpt_thr", self.kpt_thr)
        for name in ("radius", "thickness"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        for field in fields(self):
            if isinstance(field.default, bool) and getattr(self, field.name) not in (True, False):
                raise ValueError(
                    f"expected `{field.name}` as True or False, got {getattr(self, field.name)!r}"
                )
        _check_choice("style", self.style, STYLES)
        _check_choice("color_by", self.color_by, COLORINGS)

    def for_people(self, people: People, ids: Optional[Sequence[int]]) -> Dict[str, Any]:
        """Return these options as arguments of ``draw_people``.

        Args:
            people: The people to draw.
            ids: Track id of each person; None without a tracker.
        """
        return {
            "kpt_thr": self.kpt_thr,
            "radius": self.radius,
            "thickness": self.thickness,
            "bboxes": people.boxes() if self.draw_bbox else None,
            "show_kpt_idx": self.show_kpt_idx,
            "black_background": self.black_background,
            "color_by": self.color_by,
            "ids": ids,
            "person_scores": people.scores if self.show_score else None,
            "fade": self.fade,
            "style": self.style,
        }


@dataclass(frozen=True)
class OutputOptions:
    """What is written, shown and returned.

    Attributes:
        out_dir: Folder for both of the following, in ``visualizations`` and ``predictions``.
        vis_out_dir: Folder for one picture per photo, or for the video (.mp4).
        pred_out_dir: Folder for one JSON file per photo (a list of people), or per video (a list of frames, each with
            ``frame_id``, ``timestamp`` in seconds and ``instances``).
        pred_format: ``"json"``, or another format of docs/results.md for the files in ``pred_out_dir``.
        gallery: Page (.html) of the drawn photos, the least certain first; True: ``gallery.html`` in ``out_dir``.
        out_file: Picture (of a single photo) or video to write, instead of ``vis_out_dir``.
        return_vis: Include the pictures in the results.
        show: Show each picture in a window.
        wait_time: Seconds to show each picture; 0 waits for a key with photos, and does not wait with a video.
        video_codec: FourCC of the encoder of the video.
        keep_sound: Copy the sound of the input video into the output.
        metres_per_px: Size of a pixel, for the format ``"trc"`` in m instead of px.
    """

    out_dir: Union[str, Path, None] = None
    vis_out_dir: Union[str, Path, None] = None
    pred_out_dir: Union[str, Path, None] = None
    pred_format: str = "json"
    gallery: Union[str, Path, bool, None] = None
    out_file: Union[str, Path, None] = None
    return_vis: bool = False
    show: bool = False
    wait_time: float = 0
    video_codec: Optional[str] = None
    keep_sound: bool = True
    metres_per_px: Optional[float] = None

    def __post_init__(self) -> None:
        _check_choice("pred_format", self.pred_format, PREDICTION_FORMATS)
        if self.metres_per_px is not None:
            check_number("metres_per_px", self.metres_per_px, above=0)
            if self.pred_format != "trc":
                raise ValueError(
                    f"`metres_per_px` belongs to the format trc, got the format {self.pred_format}"
                )

    @property
    def writer_options(self) -> Dict[str, Any]:
        """Options of the format's writer, besides its folder and name."""
        return {} if self.metres_per_px is None else {"metres_per_px": self.metres_per_px}

    @property
    def gallery_file(self) -> Union[str, Path, None]:
        """The page; None if none is written.

        Raises:
            ValueError: It has neither a name nor a folder.
        """
        if self.gallery is not True:
            return self.gallery or None
        folder = self.picture_folder or self.json_folder
        if folder is None:
            raise ValueError("expected `gallery` as a file name, or `out_dir` for its folder")
        return Path(folder) / "gallery.html"

    @property
    def picture_folder(self) -> Union[str, Path, None]:
        """Folder of pictures or video; None if they are not written, or written to ``out_file``."""
        return self.vis_out_dir or (None if self.out_dir is None else Path(self.out_dir) / VISUALIZATIONS)

    @property
    def json_folder(self) -> Union[str, Path, None]:
        """Folder of the JSON files; None if none are written."""
        return self.pred_out_dir or (None if self.out_dir is None else Path(self.out_dir) / PREDICTIONS)

    @property
    def draws(self) -> bool:
        """Whether any option requires pictures."""
        needed = self.return_vis or self.show or bool(self.gallery)
        return needed or self.picture_folder is not None or self.out_file is not None


def names_of(options: Type[Options]) -> List[str]:
    """Return the field names of an options class."""
    return [field.name for field in fields(options)]


def pick(options: Type[Options], values: Mapping[str, Any]) -> Options:
    """Return the options found in ``values``, such as a parsed command line; others keep their defaults."""
    return options(**{name: values[name] for name in names_of(options) if name in values})


def group_options(
    flat: Mapping[str, Any],
    draw: Optional[DrawOptions] = None,
    write: Optional[OutputOptions] = None,
    others: Sequence[str] = (),
) -> Tuple[DrawOptions, OutputOptions]:
    """Return both kinds of options with flat, MMPose-style options merged in.

    Args:
        flat: Values by name; they override those of ``draw`` and ``write``.
        draw: Options to start from; None takes the defaults.
        write: Likewise.
        others: Further names to suggest for an unknown one.

    Raises:
        TypeError: A name is unknown; the message suggests the nearest.
        ValueError: A value is unknown, or two exclude each other.
    """
    named = {_ALIASES.get(name, name): value for name, value in flat.items()}
    drawn, written = names_of(DrawOptions), names_of(OutputOptions)
    for name in named:
        if name not in drawn and name not in written:
            near = difflib.get_close_matches(name, [*drawn, *written, *_ALIASES, *others], n=1, cutoff=0.6)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join([*drawn, *written])}"
            )
            raise TypeError(f"unknown option {name!r}; {hint}")
    return (
        replace(draw or DrawOptions(), **{name: value for name, value in named.items() if name in drawn}),
        replace(
            write or OutputOptions(), **{name: value for name, value in named.items() if name in written}
        ),
    )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def check_count(name: str, value: Any, least: int) -> None:
    """Raise ValueError unless an argument is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"expected `{name}` as a whole number of at least {least}, got {value!r}")


def check_number(name: str, value: Any, above: Optional[float] = None) -> None:
    """Raise ValueError unless an argument is a finite number, greater than ``above`` if that is given."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (above is not None and value <= above):
        limit = "" if above is None else f" greater than {above:g}"
        raise ValueError(f"expected `{name}` as a number{limit}, got {value!r}")
