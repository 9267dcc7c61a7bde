from ehrpose.models.losses.ae_loss import AELoss
from ehrpose.models.losses.heatmap_loss import HeatmapLoss
from ehrpose.models.losses.side_loss import SideLoss

__all__ = ["AELoss", "HeatmapLoss", "SideLoss"]
