"""Find people in images, folders, videos and cameras (no torch for exported models)."""
