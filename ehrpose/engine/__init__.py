from ehrpose.engine.amp import AutocastOptimWrapper
from ehrpose.engine.badcase_hook import BadCaseHook
from ehrpose.engine.checkpoint import CheckpointError, SafeCheckpointHook
from ehrpose.engine.finite_hook import NonFiniteLossError, NonFiniteLossHook
from ehrpose.engine.fit_hook import CheckpointFitHook
from ehrpose.engine.loops import ResumableIterBasedTrainLoop
from ehrpose.engine.progress_hook import ProgressBarHook
from ehrpose.engine.resume_hook import ExactResumeHook
from ehrpose.engine.runner import PoseRunner, build_runner
from ehrpose.engine.sync_hook import SyncStatisticsHook
from ehrpose.engine.visualization_hook import PoseVisualizationHook

__all__ = [
    "AutocastOptimWrapper",
    "BadCaseHook",
    "CheckpointError",
    "CheckpointFitHook",
    "ExactResumeHook",
    "NonFiniteLossError",
    "NonFiniteLossHook",
    "PoseRunner",
    "PoseVisualizationHook",
    "ProgressBarHook",
    "ResumableIterBasedTrainLoop",
    "SafeCheckpointHook",
    "SyncStatisticsHook",
    "build_runner",
]
