"""How much memory FFmpeg may ask for at a time."""

import ctypes
from functools import cache

import av._core

_MOST_BYTES = 64 << 20
"""More than the index of a day's recording, or a picture in it, takes."""


@cache
def bound_allocations() -> None:
    """Let no allocation of FFmpeg's in this process be larger than 64 MiB.

    Its readers believe what headers say about sizes: sixty bytes of WAV can name a comment of 2 GB,
    which is allocated, and filled with zeros, before its first byte is missed. PyAV does not pass
    on what FFmpeg has against that, `av_max_alloc`; it is looked up in the libraries that PyAV's
    own core is linked to.
    """
    av_max_alloc = ctypes.CDLL(av._core.__file__).av_max_alloc
    av_max_alloc.argtypes, av_max_alloc.restype = [ctypes.c_size_t], None
    av_max_alloc(_MOST_BYTES)
