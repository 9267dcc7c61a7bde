from ehrpose.visualization.drawing import draw_heatmaps, draw_people
from ehrpose.visualization.pose_visualizer import PoseVisualizer

__all__ = ["PoseVisualizer", "draw_heatmaps", "draw_people"]
