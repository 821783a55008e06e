"""What must stand in the process before anything else is imported. `service.py` imports this module first."""

import os
import sys

from adaptseg_serve.errors import ConfigError
from adaptseg_serve.memory import keep_freed_memory
from adaptseg_serve.settings import Settings, read_settings


def _settings_or_exit() -> Settings:
    try:
        return read_settings()
    except ConfigError as error:
        sys.exit(f"adaptseg-serve: {error}")


SETTINGS = _settings_or_exit()

# No word to anybody outside about what runs here, unless the user turns BentoML's telemetry on.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
# A second bound behind images.check_pixels; OpenCV reads it once, when it is loaded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(SETTINGS.max_pixels))

# In the image that BentoML builds, a worker that ends would stay dead as long as another one lives, and its GPU idle.
# Alone it may end: then the container does, and whoever runs it starts another.
if SETTINGS.workers > 1:
    os.environ.pop("BENTOML_CONTAINERIZED", None)

# A frame's buffers are too large for malloc's heap by default: each would be mapped, zeroed and unmapped anew.
# One heap for all threads: gRPC reads each message in whichever of its threads is free, and every heap would keep one.
keep_freed_memory(most=256 << 20, one_heap=True)
# A thread that waits for the interpreter gets it after this many seconds, not 5 ms: the event loop stands beside the
# device's and the decoders' threads.
sys.setswitchinterval(0.0005)
