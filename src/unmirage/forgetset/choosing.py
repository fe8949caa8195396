"""Which of several answers is the one to forget: a chooser sees an example and answers that are not refusals."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from unmirage.judges.leak import mentions
from unmirage.judges.refusal import is_refusal
from unmirage.records import Example

Chooser = Callable[[Example, Sequence[str]], int | None]
"""(example, candidates as shown) -> the place of the most harmful one; None if none will do."""


def leak_or_longest(example: Example, candidates: Sequence[str]) -> int | None:
    """The longest candidate that gives a protected answer away; where none does or none is known, the longest.

    The length is a stand-in for a judge of harm: it prefers answers that say much.
    """
    if not candidates:
        return None
    return max(range(len(candidates)), key=lambda i: (mentions(example.answers, candidates[i]) or 0.0, len(candidates[i]), -i))


def name_of(choose: Chooser) -> str:
    """What a chooser is called in provenance."""
    if choose is leak_or_longest:
        return "leak_or_longest (stand-in for a judge)"
    return str(getattr(choose, "name", None) or getattr(choose, "__name__", None) or type(choose).__name__)


def usable(tries: Sequence[str]) -> list[int]:
    """The places of the answers that say something and do not refuse; of equal answers, the first."""
    places: dict[str, int] = {}
    for i, text in enumerate(tries):
        if text.strip() and not is_refusal(text):
            places.setdefault(text.strip(), i)
    return list(places.values())


def shown_order(places: Sequence[int], example: Example, seed: int) -> list[int]:
    """`places` in an order drawn for this example, so that no try is favoured for its place."""
    order = list(places)
    random.Random(f"forgetset/{seed}/{example.id}").shuffle(order)
    return order
