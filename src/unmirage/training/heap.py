"""The C library's heap, which keeps what it is told is free.

A first step of training puts gradients and moments, which stay, among activations, which go; the holes fit nothing that comes
later, and the process grows by hundreds of megabytes that nobody uses. Given back once, right after that step, they are not
filled again: from then on every step asks for the same sizes in the same order.
"""

from __future__ import annotations

import ctypes
import sys


def give_back() -> bool:
    """Return to the system what the C library holds free; whether there is a C library here that can (glibc)."""
    if sys.platform != "linux":
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:  # musl
        return False
    trim(0)
    return True
