"""Drawing people and maps on pictures (NumPy and OpenCV, no torch)."""

# Values of `style` and `color_by` of `draw_people`; here, so that importing them loads nothing else.
STYLES = ("mmpose", "openpose")
COLORINGS = ("limb", "person", "id")
