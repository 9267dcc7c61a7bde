from ehrpose.visualization.drawing import draw_people
from ehrpose.visualization.map_view import draw_heatmaps, draw_tags, maps_of_photo
from ehrpose.visualization.pose_visualizer import PoseVisualizer

__all__ = ["PoseVisualizer", "draw_heatmaps", "draw_people", "draw_tags", "maps_of_photo"]
