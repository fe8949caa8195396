"""95 % intervals where items come in clusters, such as several questions about one picture.

Items of one picture tend to share their fate, so n of them tell less than n independent ones: as much as

    n_eff = n / d,   d = k / (k - 1) * sum_i (s_i - m_i s/n)^2 / n^2  /  (variance of n independent items), at least 1

for k clusters with s_i of m_i successes; d is the design effect (Kish 1965, sections 5.4 and 8.2), its upper part the
ratio estimator of cluster sampling. The intervals are those of Wilson and Newcombe for n_eff items. For a share n_eff
is also cut by (1.96 / t)^2 with t the 97.5 % point of Student's distribution with k - 1 degrees of freedom (Korn and
Graubard 1998, Survey Methodology 24:193, eq. 2.2, there with the exact binomial interval).

The cluster bootstrap is here as the check that assumes least. It holds the truth no more often (docs/statistics.md) and
says nothing at 0 of n, so it is not what is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from unmirage.metrics.intervals import Interval, paired_interval, score_interval


def clustered_share(clusters: Sequence[tuple[int, int]]) -> Interval:
    """The 95 % interval of a share, in [0, 1].

    Where all items agree the design effect cannot be measured, and each cluster counts as one item.

    Args:
        clusters: (successes, items) of each cluster.

    Raises:
        ValueError: no items, or a cluster with more successes than items.
    """
    from scipy.special import ndtri, stdtrit

    clusters = [cluster for cluster in clusters if cluster[1]]
    successes, n, k = sum(s for s, _ in clusters), sum(m for _, m in clusters), len(clusters)
    if n == 0 or any(not 0 <= s <= m for s, m in clusters):
        raise ValueError(f"no share of {successes} in {n}, or an impossible cluster")
    share, effective = successes / n, float(k)
    if 0 < successes < n and k > 1:
        design = design_effect(clusters, share * (1 - share) / n)
        effective = n / design * float(ndtri(0.975) / stdtrit(k - 1, 0.975)) ** 2
    return score_interval(effective if successes == n else share * effective, effective)


def clustered_difference(clusters: Sequence[tuple[int, int, int, int]]) -> Interval:
    """The 95 % interval of (share of a) - (share of b) where the same items were tried under a and b, in [-1, 1].

    Newcombe's paired interval for n_eff items. Where every item changes alike the design effect cannot be measured,
    and each cluster counts as one item.

    Args:
        clusters: of each cluster the items with success under (both, only a, only b, neither).

    Raises:
        ValueError: no items, or a negative count.
    """
    clusters = [cluster for cluster in clusters if any(cluster)]
    if not clusters or any(min(cluster) < 0 for cluster in clusters):
        raise ValueError("no items, or a negative count")
    table = [sum(cells) for cells in zip(*clusters, strict=True)]
    n, k = sum(table), len(clusters)
    independent = ((table[1] + table[2]) / n - ((table[1] - table[2]) / n) ** 2) / n
    scale = k / n
    if independent > 0 and k > 1:
        scale = 1 / design_effect([(cluster[1] - cluster[2], sum(cluster)) for cluster in clusters], independent)
    both, only_a, only_b, neither = (scale * cell for cell in table)
    return paired_interval(both, only_a, only_b, neither)


def design_effect(clusters: Sequence[tuple[int, int]], independent: float) -> float:
    """How many times the variance of a share between clusters is that of independent items, at least 1.

    Args:
        clusters: (sum, items) of each cluster, at least two; the sum may be of differences.
        independent: the variance of the share if all items were independent; positive.
    """
    n, k = sum(m for _, m in clusters), len(clusters)
    share = sum(s for s, _ in clusters) / n
    between = k / (k - 1) * sum((s - share * m) ** 2 for s, m in clusters) / n**2
    return max(1.0, between / independent)


def cluster_bootstrap(
    clusters: Sequence[tuple[int, int]],
    seed: int,
    method: Literal["percentile", "BCa"] = "BCa",
    resamples: int = 9999,
) -> Interval | None:
    """The bootstrap 95 % interval of a share, or of a difference, over whole clusters (Efron 1987; scipy).

    Args:
        clusters: (sum, items) of each cluster: successes, or successes under a minus those under b.
        seed: of the resampling.
        method: how the limits are read from the resamples.
        resamples: how many.

    Returns:
        The limits; None where all clusters have the same share, of which resampling makes nothing but itself, and where
        the method has no answer.

    Raises:
        ValueError: fewer than two clusters, or one without items.
    """
    import numpy as np
    from scipy import stats

    if len(clusters) < 2 or any(m <= 0 for _, m in clusters):
        raise ValueError("the bootstrap needs two clusters or more, each with items")
    if len({s / m for s, m in clusters}) == 1:
        return None
    sums, items = np.asarray(clusters, dtype=float).T
    limits = stats.bootstrap(
        (sums, items),
        lambda s, m, axis=-1: s.sum(axis=axis) / m.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        method=method,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return (float(limits.low), float(limits.high)) if np.isfinite(limits).all() else None
