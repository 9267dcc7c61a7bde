"""Many videos and photos: split into items, processed in parallel, resumed after any interruption (no torch)."""
