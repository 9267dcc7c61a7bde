from ehrpose.engine.amp import AutocastOptimWrapper
from ehrpose.engine.checkpoint import CheckpointError, CheckpointFitHook, SafeCheckpointHook
from ehrpose.engine.distributed import SyncStatisticsHook
from ehrpose.engine.hooks.badcase import BadCaseHook
from ehrpose.engine.hooks.early_stopping import EarlyStoppingHook
from ehrpose.engine.hooks.finite import NonFiniteLossError, NonFiniteLossHook
from ehrpose.engine.hooks.progress import ProgressBarHook
from ehrpose.engine.hooks.time_budget import TimeBudgetHook
from ehrpose.engine.hooks.visualization import PoseVisualizationHook
from ehrpose.engine.runner import PoseRunner, build_runner
from ehrpose.engine.seeding import ExactResumeHook, ResumableIterBasedTrainLoop

__all__ = [
    "AutocastOptimWrapper",
    "BadCaseHook",
    "CheckpointError",
    "CheckpointFitHook",
    "EarlyStoppingHook",
    "ExactResumeHook",
    "NonFiniteLossError",
    "NonFiniteLossHook",
    "PoseRunner",
    "PoseVisualizationHook",
    "ProgressBarHook",
    "ResumableIterBasedTrainLoop",
    "SafeCheckpointHook",
    "SyncStatisticsHook",
    "TimeBudgetHook",
    "build_runner",
]
