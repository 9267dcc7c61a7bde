from ehrpose.tracking.one_euro import OneEuroFilter
from ehrpose.tracking.plain_arrays import TrackedArrays
from ehrpose.tracking.pose_tracker import PoseTracker, Tracked

__all__ = ["OneEuroFilter", "PoseTracker", "Tracked", "TrackedArrays"]
