"""How much arithmetic a piece of work is, and how fast the machine does matrix products: what a step can be held against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from meter import Meter
from torch.utils.flop_counter import FlopCounterMode


def counted(work: Callable[[], object]) -> int:
    """Floating-point operations of `work`: those of matrix products, forward and backward, as they are run.

    PyTorch does not count those within fused attention on a CPU.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of the best of several square matrix products."""
    side, repeats = (8192, 20) if device != "cpu" else (1024, 2)
    meter = Meter(torch.device(device), own=device == "cpu" and torch.get_num_threads() == 1)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    torch.mm(left, right)
    taken = []
    for _ in range(5):
        began = meter.now()
        for _ in range(repeats):
            torch.mm(left, right)
        taken.append(meter.now() - began)
    return float(2 * side**3 * repeats / min(taken))
