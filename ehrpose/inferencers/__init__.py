"""People in whatever is given: images, folders, videos and cameras (no torch for exported models)."""
