"""The HTTP door: a Starlette app over a Segmenter. BentoML mounts it; it runs as well without."""
