"""Two ways to do the same work against each other, each in a process of its own.

A process of its own because memory that one has freed and not given back would hide what the other takes. On a CPU they
take turns, piece by piece, so that what else the machine does slows both; on a GPU one runs after the other, since both
together may not fit.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from meter import Meter

Turn = Callable[[], None]
Work = Callable[[Turn], Any]
"""Calls its `turn` once when it is set up, which is not counted, and after each piece of work."""


@dataclass(frozen=True)
class Cost:
    """Seconds of each piece, the most MiB that were held above what was held before any model was there, and the result.

    A piece of work that did not fit into a GPU's memory has the result None.
    """

    pieces: tuple[float, ...]
    peak: int
    result: Any


@dataclass(frozen=True)
class Sides:
    """Runs work in processes; `warm` is done first in each, so that what is loaded once is not counted."""

    device: str
    threads: int
    warm: Callable[[], object]

    def __call__(self, one: Work, other: Work) -> tuple[Cost, Cost]:
        """What each takes."""
        first, second = Side(self, one), Side(self, other)
        if self.device == "cpu":
            while first.turn() | second.turn():
                pass
        return first.end(), second.end()


class Side:
    """One of two."""

    def __init__(self, sides: Sides, work: Work) -> None:
        """Start nothing yet."""
        self._pipe, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_serve, args=(sides, work, theirs), daemon=True)
        self._given, self._pieces, self._cost = theirs, list[float](), None

    def turn(self) -> bool:
        """Let it do one piece; False where it has none left."""
        if self._cost is not None:
            return False
        if not self._process.ident:
            self._process.start()
            self._given.close()  # so that its death ends what waits for it
        else:
            self._pipe.send("go")
        try:
            told = self._pipe.recv()
        except EOFError:
            raise SystemExit("a side died; what it said stands above") from None
        if isinstance(told, float):
            self._pieces.append(told)
            return True
        self._cost = Cost(tuple(self._pieces[1:]), *told)  # before the first turn it is set up
        self._process.join()
        return False

    def end(self) -> Cost:
        """Let it do all that is left."""
        while self.turn():
            pass
        assert self._cost is not None
        return self._cost


def _serve(sides: Sides, work: Work, pipe: Connection) -> None:
    torch.set_num_threads(sides.threads)
    sides.warm()
    meter = Meter(torch.device(sides.device), own=sides.device == "cpu" and sides.threads == 1)
    held = meter.begin()
    began = meter.now()

    def turn() -> None:
        nonlocal began
        pipe.send(meter.now() - began)
        pipe.recv()
        began = meter.now()

    try:
        result = work(turn)
    except torch.OutOfMemoryError:  # a GPU's
        result = None
    pipe.send((meter.top() - held, result))
