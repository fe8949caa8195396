"""95 % confidence intervals of a share, and of a difference of two shares.

Wilson's score interval of x in n (Wilson 1927), with p = x / n and z = 1.96, from statsmodels:

    (p + z^2 / 2n  -+  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

and the two that R. G. Newcombe built from it in 1998: for independent shares, from statsmodels too (Statistics in
Medicine 17:873, method 10), and for shares of the same items, which no library has (Statistics in Medicine 17:2635,
method 10). Unlike the textbook normal interval they stay honest at 0 of n: 0 of 100 may still be 3.7 %. How often each
holds the truth is measured in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

Interval = tuple[float, float]
"""The lower and the upper limit."""


@lru_cache(maxsize=65536)
def wilson(successes: int, n: int) -> Interval:
    """The 95 % interval of a share, in [0, 1].

    Raises:
        ValueError: `n` is not positive, or `successes` is not in 0..n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"no share of {successes} in {n}")
    return score_interval(successes, n)


def score_interval(successes: float, n: float) -> Interval:
    """Wilson's interval for what is worth `successes` in `n` independent items, which need not be whole numbers."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=0.05, method="wilson")
    return (float(low) if successes > 0 else 0.0), (float(high) if successes < n else 1.0)


def newcombe(a: int, n_a: int, b: int, n_b: int) -> Interval:
    """The 95 % interval of a/n_a - b/n_b, two shares of different items, in [-1, 1].

    Raises:
        ValueError: a count is impossible.
    """
    return newcombe_table([(a, n_a, b, n_b)])[0]


def newcombe_table(counts: Sequence[tuple[int, int, int, int]]) -> list[Interval]:
    """`newcombe` of every (a, n_a, b, n_b) at once, for tables of thousands of words.

    Raises:
        ValueError: a count is impossible.
    """
    import numpy as np
    from statsmodels.stats.proportion import confint_proportions_2indep

    for a, n_a, b, n_b in counts:
        if not (0 <= a <= n_a and 0 <= b <= n_b and n_a and n_b):
            raise ValueError(f"no share of {a} in {n_a}, or of {b} in {n_b}")
    columns = np.asarray(counts, dtype=float).reshape(-1, 4).T
    low, high = confint_proportions_2indep(*columns, method="newcomb", compare="diff", alpha=0.05)
    return list(zip(low.clip(-1, 1).tolist(), high.clip(-1, 1).tolist(), strict=True))


def newcombe_paired(both: int, only_a: int, only_b: int, neither: int) -> Interval:
    """The 95 % interval of (share of a) - (share of b) where the same items were tried under a and b, in [-1, 1].

    Args:
        both: items with success under a and b.
        only_a: items with success under a only.
        only_b: items with success under b only.
        neither: items with success under neither.

    Raises:
        ValueError: a count is negative, or there are no items.
    """
    if min(both, only_a, only_b, neither) < 0:
        raise ValueError(f"counts cannot be negative: {(both, only_a, only_b, neither)}")
    if both + only_a + only_b + neither == 0:
        raise ValueError("no share of 0 in 0")
    return paired_interval(both, only_a, only_b, neither)


def paired_interval(both: float, only_a: float, only_b: float, neither: float) -> Interval:
    """`newcombe_paired` for what is worth so many independent items, which need not be whole numbers.

    Square-and-add: the distances from the shares to their own limits, combined as the sides of a triangle.
    """
    n, a, b = both + only_a + only_b + neither, both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = score_interval(a, n), score_interval(b, n)
    correlation = _correlation(both, only_a, only_b, neither)
    down = _third_side(a / n - low_a, high_b - b / n, correlation)
    up = _third_side(high_a - a / n, b / n - low_b, correlation)
    return max((a - b) / n - down, -1.0), min((a - b) / n + up, 1.0)


def _correlation(both: float, only_a: float, only_b: float, neither: float) -> float:
    """The phi coefficient of a two-by-two table; a positive one is shrunk by Newcombe's continuity correction."""
    n = both + only_a + only_b + neither
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    product = both * neither - only_a * only_b
    return (max(product - n / 2, 0.0) if product > 0 else product) / math.sqrt(margins)


def _third_side(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one * one - 2 * correlation * one * other + other * other, 0.0))
