"""Build a tracker from an object, a dict of options, or True."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Protocol, Union

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import TRACKERS
from ehrpose.structures import People
from ehrpose.tracking.pose_tracker import Tracked


class Tracker(Protocol):
    """Interface of an object that tracks people through a video."""

    def update(self, people: People, timestamp: Optional[float] = None) -> Tracked:
        """Return the people of the next frame, at ``timestamp`` seconds, with their ids."""


def open_tracker(
    tracker: Union[Tracker, Mapping[str, Any], bool, None], meta: KeypointMeta, fps: Optional[float]
) -> Optional[Tracker]:
    """Return a tracker for one video.

    Args:
        tracker: A tracker; options of PoseTracker, or of the registered ``type``; True for PoseTracker's defaults;
            None or False for none.
        meta: Skeleton of the people.
        fps: Frames per second of the video; None for photos.

    Raises:
        ValueError: There is no video, the type is unknown, or an option is invalid.
    """
    if tracker is None or tracker is False:
        return None
    if fps is None:
        raise ValueError("tracking needs a video: pass fps to treat the photos as its frames")
    if tracker is True:
        tracker = {}
    if not isinstance(tracker, Mapping):
        return tracker
    options = {"type": "PoseTracker", "keypoints": meta, "frame_rate": fps, **tracker}
    if options["type"] not in TRACKERS:
        raise ValueError(f"unknown tracker {options['type']!r}; available: {sorted(TRACKERS.module_dict)}")
    built: Tracker = TRACKERS.build(options)
    return built
