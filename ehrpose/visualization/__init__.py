"""Drawing people and maps on pictures (NumPy and OpenCV, no torch)."""

# What `draw_people` takes as `style` and `color_by`; here, where asking for them loads nothing else.
STYLES = ("mmpose", "openpose")
COLORINGS = ("limb", "person", "id")
