"""The smallest difference that a sample of some size can tell from chance: 80 % power, 5 % two-sided.

Different items, n a side, one share p: statsmodels' normal power of the arcsine difference (Cohen 1988, section 6.2)

    h = 2 asin sqrt(p + d) - 2 asin sqrt(p),   power = 0.8 at h = (1.960 + 0.842) sqrt(2 / n)

The same n items, of which a share psi changes one way or the other: the power of the exact McNemar test, over all
numbers m of changes (Lachenbruch 1992, Stat. Med. 11:1521),

    power(d) = sum_m P(m | n, psi) P(test rejects | m, (psi + d) / 2 psi)
"""

from __future__ import annotations

import math

POWER, LEVEL = 0.8, 0.05


def detectable(n: int, rate: float = 0.5) -> float | None:
    """The smallest difference of two shares, `n` different items each, that is found with 80 % power.

    Args:
        n: items a side.
        rate: one of the shares, in [0, 1]; at the default of one half the difference is largest.

    Returns:
        The difference towards one half, where it is larger, as a share; None if even the largest one is not found.

    Raises:
        ValueError: `n` is not positive, or `rate` not in [0, 1].
    """
    if n < 1 or not 0 <= rate <= 1:
        raise ValueError(f"no detectable difference for n = {n}, rate = {rate}")
    from statsmodels.stats.power import NormalIndPower

    start = 2 * math.asin(math.sqrt(min(rate, 1 - rate)))
    h = float(NormalIndPower().solve_power(effect_size=None, nobs1=n, alpha=LEVEL, power=POWER, alternative="two-sided"))
    return math.sin((start + h) / 2) ** 2 - min(rate, 1 - rate) if start + h <= math.pi else None


def paired_power(n: int, discordant: float, difference: float, level: float = LEVEL) -> float:
    """The chance that the exact McNemar test finds a difference of two shares of the same `n` items.

    Args:
        n: items.
        discordant: the share of items that change one way or the other, in (0, 1].
        difference: the share that changes one way minus the other, at most `discordant`.
        level: of the two-sided test.

    Raises:
        ValueError: a number outside these ranges.
    """
    if n < 1 or not 0 < discordant <= 1 or abs(difference) > discordant:
        raise ValueError(f"impossible: {n} items, {discordant} discordant, difference {difference}")
    import numpy as np
    from scipy import stats

    changes = np.arange(n + 1)
    most = stats.binom.ppf(level / 2, changes, 0.5)
    most -= stats.binom.cdf(most, changes, 0.5) > level / 2
    one_way = (1 + difference / discordant) / 2
    rejects = stats.binom.cdf(most, changes, one_way) + stats.binom.cdf(most, changes, 1 - one_way)
    return float(np.sum(stats.binom.pmf(changes, n, discordant) * rejects))


def detectable_paired(n: int, discordant: float) -> float | None:
    """The smallest difference of two shares of the same `n` items that is found with 80 % power.

    Args:
        n: items.
        discordant: the share of items that change one way or the other, in (0, 1].

    Returns:
        The difference as a share; None if even all changes going one way are too few to be found.

    Raises:
        ValueError: a number outside these ranges.
    """
    if paired_power(n, discordant, discordant) < POWER:
        return None
    from scipy import optimize

    return float(optimize.brentq(lambda d: paired_power(n, discordant, d) - POWER, 0.0, discordant, xtol=1e-6))


def detectable_sentence(n: int, discordant: float | None = None) -> str:
    """What n items can tell, in a sentence; `discordant` where both sides are asked the same items."""
    found = detectable(n) if discordant is None else detectable_paired(n, discordant)
    same = "" if discordant is None else f" of the same items and {100 * discordant:g} % of them changing"
    if found is None:
        return f"with n = {n}{same} no difference can be told from chance (80 % power, 5 % two-sided)"
    return (
        f"with n = {n}{same} a difference below {100 * found:.1f} points cannot be told from chance (80 % power, 5 % two-sided)"
    )
