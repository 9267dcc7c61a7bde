from ehrpose.models.necks.high_resolution import HighResolutionNeck
from ehrpose.models.necks.top_down import TopDownNeck

__all__ = ["HighResolutionNeck", "TopDownNeck"]
