"""What a piece of work costs: seconds and memory, in one process."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Meter:
    """Seconds, MiB of memory above what was held before, and the result of a piece of work."""

    def __init__(self, device: torch.device, own: bool) -> None:
        """`own`: count the seconds of this process only."""
        self.cuda = device.type == "cuda"
        self.clock = "process" if own else "wall"
        self._now = time.process_time if own else time.perf_counter

    def __call__(self, work: Callable[[], Any]) -> tuple[float, int, Any]:
        """Run `work` once."""
        held = self.begin()
        began = self.now()
        result = work()
        seconds = self.now() - began
        return seconds, self.top() - held, result

    def now(self) -> float:
        """Seconds on the clock, with all work done."""
        if self.cuda:
            torch.cuda.synchronize()
        return self._now()

    def top(self) -> int:
        """The most MiB held at once since `begin`."""
        return torch.cuda.max_memory_allocated() >> 20 if self.cuda else _status("VmHWM") >> 10

    def begin(self) -> int:
        """Start anew; MiB held now."""
        gc.collect()
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated() >> 20
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the run before has freed
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
        return _status("VmRSS") >> 10


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field)))
