"""A quicker allocator for frames and activations: glibc keeps what was freed."""

import ctypes
import ctypes.util

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
LARGEST_THRESHOLD = 32 << 20
"""Some releases of glibc refuse a higher one."""


def keep_freed_memory(most: int | None = None, one_heap: bool = False) -> bool:
    """Let glibc keep big freed blocks instead of giving each back to the kernel, which would zero its pages anew.

    most: bytes that may lie free at the end of each heap; blocks over 32 MiB then go back at once. None: all is
    kept. Same effect as MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ in the environment, without a restart.
    one_heap: all threads share the first, so that one takes what another freed, and `most` is the process's; for
    threads that allocate little at once. Call it before they start (MALLOC_ARENA_MAX).
    Bits don't change, only speed; returns False where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL(ctypes.util.find_library("c")).mallopt
    except (OSError, AttributeError):
        return False
    if one_heap and not mallopt(_M_ARENA_MAX, 1):
        return False
    if most is None:
        return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, most))
