from ehrpose.models.losses.ae_loss import AELoss
from ehrpose.models.losses.heatmap_loss import HeatmapLoss

__all__ = ["AELoss", "HeatmapLoss"]
