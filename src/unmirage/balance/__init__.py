"""Copies of safety data in which opener, final mark and sentence mood no longer give the label away."""

from __future__ import annotations

from unmirage.balance.balancing import Balanced, balance, counter
from unmirage.balance.redrawing import redraw
from unmirage.balance.writing import Report, write

__all__ = ["Balanced", "Report", "balance", "counter", "redraw", "write"]
