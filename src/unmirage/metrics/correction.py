"""What a rate would be if people had judged every answer, from a judge with measured errors.

A judge that finds a share Se of what is there, and calls a share 1 - Sp of the rest so too, reads a true rate pi as
p = pi Se + (1 - pi)(1 - Sp). With labels by people there are two ways back:

    corrected_rate     pi = (p + Sp - 1) / (Se + Sp - 1)                       (Rogan and Gladen 1978, eq. 1)
    rate_from_labels   pi = sum_h W_h y_h,  W_h = N_h / N

The first takes Se and Sp from a sample of their own; its interval (Lang and Reiczigel 2014, Prev. Vet. Med. 113:13,
section 2.2) carries their uncertainty. It holds only if the judge errs on that sample as it does here, which a sample
from another model does not promise (`comparable`). The second needs labels among the judged answers themselves: N_h
answers in stratum h, all with one verdict, of n_h labelled a share y_h. It is prediction-powered inference
(Angelopoulos et al. 2023, Science 382:669, for a mean: verdicts everywhere, plus the mean of label minus verdict), with
that mean taken by stratum, and needs no assumption beyond labelling at random inside each. Its variance is that of
two-phase sampling (Neyman 1938; Cochran 1977, eq. 12.3),

    V = pi (1 - pi) / N + sum_h W_h^2 s_h^2 (1 / n_h - 1 / N_h)

and its interval Wilson's for pi (1 - pi) / V items. s_h^2 counts half a surprise and half a non-surprise more than
were seen, or 25 labels without an error would mean there are none. Rates are shares in [0, 1], intervals are 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unmirage.metrics.intervals import Interval, newcombe, score_interval, wilson

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a judge did on `positives` answers that people call so and `negatives` that they do not.

    `found` of the positives and `cleared` of the negatives it got right. The sample must not be drawn by verdict: then
    sensitivity and specificity are not these shares (`accuracy_from_labels` has them).
    """

    found: int
    positives: int
    cleared: int
    negatives: int

    def __post_init__(self) -> None:
        """Refuse impossible counts.

        Raises:
            ValueError: a count is negative or larger than its total.
        """
        if not (0 <= self.found <= self.positives and 0 <= self.cleared <= self.negatives):
            raise ValueError(f"impossible calibration counts: {self}")


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its interval; None, with the reason in `note`, where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Answers with one verdict: the judge `flagged` all `size` of them or none; people called `positive` of `labelled` so."""

    flagged: bool
    size: int
    labelled: int
    positive: int

    def __post_init__(self) -> None:
        """Refuse impossible counts.

        Raises:
            ValueError: not positive <= labelled <= size, all at least 0.
        """
        if not 0 <= self.positive <= self.labelled <= self.size:
            raise ValueError(f"impossible counts in a stratum: {self}")


def sensitivity(calibration: Calibration) -> Share:
    """The share of what is there that the judge finds, with Wilson's interval."""
    return _share(calibration.found, calibration.positives, "no positive answer in the calibration sample")


def specificity(calibration: Calibration) -> Share:
    """The share of the rest that the judge clears, with Wilson's interval."""
    return _share(calibration.cleared, calibration.negatives, "no negative answer in the calibration sample")


def corrected_rate(flagged: int, n: int, calibration: Calibration) -> Share:
    """The rate behind `flagged` of `n`, corrected for the judge's errors (Rogan-Gladen; Lang and Reiczigel's interval).

    Estimate and limits outside [0, 1] are clipped to it, and `note` says so of the estimate.

    Raises:
        ValueError: `flagged` is not in 0..n, or n is not positive.
    """
    if not 0 <= flagged <= n or n == 0:
        raise ValueError(f"no share of {flagged} in {n}")
    c = calibration
    if not c.positives or not c.negatives:
        return Share(None, None, None, "the calibration sample lacks positive or negative answers: label some of each")
    se, sp = c.found / c.positives, c.cleared / c.negatives
    if se + sp <= 1 or (c.found + 1) / (c.positives + 2) + (c.cleared + 1) / (c.negatives + 2) <= 1:
        return Share(None, None, None, f"the judge does no better than chance (sensitivity {se:.2f}, specificity {sp:.2f})")
    raw = (flagged / n + sp - 1) / (se + sp - 1)
    value = min(max(raw, 0.0), 1.0)
    low, high = _lang_reiczigel(flagged, n, c)
    clipped = f"clipped to [0, 1] from {raw:.3f}" if raw != value else ""
    return Share(value, min(low, value), max(high, value), clipped)


def _lang_reiczigel(flagged: int, n: int, c: Calibration) -> Interval:
    """Lang and Reiczigel's limits: Rogan-Gladen after adding pseudo-counts, shifted by d, minus and plus z SE.

    n' = n + z^2, p' = (x + z^2 / 2) / n'; one more right and one more wrong answer in each calibration sample.
    """
    m, m_se, m_sp = n + Z * Z, c.positives + 2, c.negatives + 2
    p, se, sp = (flagged + Z * Z / 2) / m, (c.found + 1) / m_se, (c.cleared + 1) / m_sp
    rate = (p + sp - 1) / (se + sp - 1)
    of_se, of_sp = se * (1 - se) / m_se, sp * (1 - sp) / m_sp
    shift = 2 * Z * Z * (rate * of_se - (1 - rate) * of_sp)
    error = math.sqrt(p * (1 - p) / m + rate**2 * of_se + (1 - rate) ** 2 * of_sp) / (se + sp - 1)
    low, high = (min(max(rate + shift + side * Z * error, 0.0), 1.0) for side in (-1, 1))
    return low, high


def rate_from_labels(strata: Sequence[Stratum]) -> Share:
    """The rate among all answers, from verdicts everywhere and labels on some (prediction-powered, stratified).

    With every answer labelled it is the plain share with Wilson's interval. A stratum is a verdict, or a verdict within
    an edit, model or topic; labels are drawn at random inside each.
    """
    note = _lacking(strata)
    if note:
        return Share(None, None, None, note)
    value, low, high, _ = _positive(strata, sum(s.size for s in strata))
    return Share(value, low, high)


def _positive(strata: Sequence[Stratum], total: int) -> tuple[float, float, float, float]:
    """What share of all `total` answers is positive and in these strata, its interval, and its variance."""
    strata = [s for s in strata if s.size]
    value = min(sum(s.size / total * s.positive / s.labelled for s in strata), 1.0)
    inside = min(max(value, 0.5 / total), 1 - 0.5 / total)
    of_labels = sum((s.size / total) ** 2 * _spread(s) * (1 / s.labelled - 1 / s.size) for s in strata)
    effective = inside * (1 - inside) / (inside * (1 - inside) / total + of_labels)
    low, high = score_interval(value * effective, effective)
    return value, min(low, value), max(high, value), inside * (1 - inside) / effective


def accuracy_from_labels(strata: Sequence[Stratum]) -> tuple[Share, Share]:
    """Sensitivity and specificity of the judge, from labels drawn by verdict (Begg and Greenes 1983, Biometrics 39:207).

    The sensitivity is A / (A + B), with A and B the shares of all answers that are positive and flagged, positive and
    not. Its interval comes from those of A and B, as in `rate_from_labels`, through the ratio of the smaller to the
    larger (Donner and Zou 2012, Stat. Methods Med. Res. 21:347, eqs. 9 and 10), with cov(A, B) = -A B / N.
    """
    note = _lacking(strata)
    if note:
        return Share(None, None, None, note), Share(None, None, None, note)
    mirrored = [Stratum(not s.flagged, s.size, s.labelled, s.labelled - s.positive) for s in strata]
    return _found(strata, "no positive answer among the labels"), _found(mirrored, "no negative answer among the labels")


def _found(strata: Sequence[Stratum], note: str) -> Share:
    """The share flagged of what is positive."""
    total = sum(s.size for s in strata)
    there, missed = (_positive([s for s in strata if s.flagged is side], total) for side in (True, False))
    if there[0] + missed[0] == 0:
        return Share(None, None, None, note)
    value = there[0] / (there[0] + missed[0])
    if len({s.flagged for s in strata if s.size}) == 1:
        return Share(value, 0.0, 1.0, "the judge gave one verdict only")
    correlation = -there[0] * missed[0] / total / math.sqrt(there[3] * missed[3])
    if there[0] < missed[0]:
        low, high = _ratio(there[:3], missed[:3], correlation)
        return Share(value, low / (1 + low), 1 - 1 / (1 + high))
    low, high = _ratio(missed[:3], there[:3], correlation)
    return Share(value, 1 / (1 + high), 1 / (1 + low))


def _ratio(one: tuple[float, float, float], other: tuple[float, float, float], correlation: float) -> Interval:
    """The interval of a / b from (value, low, high) of each: Donner and Zou's, with the roots moved below the line.

    Equation 9 is (m - r) / u (2 b - u) with m = a b - correlation (a - l)(u - b), r^2 = m^2 - l u (2 a - l)(2 b - u), l
    the lower limit of a and u the upper of b; that is l (2 a - l) / (m + r), which no u makes 0 / 0.
    """
    (a, low_a, high_a), (b, low_b, high_b) = one, other
    low_side, high_side = low_a * (2 * a - low_a), high_a * (2 * a - high_a)
    near, far = low_b * (2 * b - low_b), high_b * (2 * b - high_b)
    down = a * b - correlation * (a - low_a) * (high_b - b)
    up = a * b - correlation * (high_a - a) * (b - low_b)
    low = low_side / (down + math.sqrt(max(down**2 - low_side * far, 0.0))) if a else 0.0
    high = (up + math.sqrt(max(up**2 - high_side * near, 0.0))) / near if near > 0 else math.inf
    return low, high


def _spread(s: Stratum) -> float:
    """The variance of labels inside a stratum, with half a label of either kind more than were given."""
    positive = (s.positive + 0.5) / (s.labelled + 1)
    return positive * (1 - positive)


def _lacking(strata: Sequence[Stratum]) -> str:
    """Why the strata say nothing; empty if they do."""
    if not any(s.size for s in strata):
        return "no answers"
    bare = [s for s in strata if s.size and not s.labelled]
    if bare:
        return f"no label among {bare[0].size} answers with verdict {'yes' if bare[0].flagged else 'no'}: label some of them"
    return ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether a judge errs alike on two models. Intervals are of the first model's share minus the second's (Newcombe)."""

    verdict: Literal["alike", "different", "cannot tell"]
    sensitivity: Interval | None
    specificity: Interval | None
    note: str


def comparable(a: Calibration, b: Calibration, margin: float = 0.1) -> Comparison:
    """Whether the raw difference of two models' rates may be read: the judge must err alike on both.

    Different if either interval excludes 0; alike if both lie within `margin` of 0; else the samples are too small.

    Args:
        a: the judge on the first model.
        b: the judge on the second.
        margin: the largest difference in sensitivity or specificity that does not matter, as a share.
    """
    pairs = ((a.found, a.positives, b.found, b.positives), (a.cleared, a.negatives, b.cleared, b.negatives))
    found, cleared = (newcombe(*pair) if pair[1] and pair[3] else None for pair in pairs)
    known = {"sensitivity": found, "specificity": cleared}
    apart = [name for name, limits in known.items() if limits and not limits[0] <= 0 <= limits[1]]
    if apart:
        note = f"the judge's {' and '.join(apart)} differ between the two models: their raw difference means nothing"
        return Comparison("different", found, cleared, note + "; compare corrected rates")
    if all(limits and -margin <= limits[0] and limits[1] <= margin for limits in known.values()):
        return Comparison("alike", found, cleared, f"the judge errs alike on both models, within {100 * margin:g} points")
    least = min(a.positives, a.negatives, b.positives, b.negatives)
    note = f"too few labels ({least} in the smallest group) to tell whether the judge errs alike on both models"
    return Comparison("cannot tell", found, cleared, note)


def _share(successes: int, n: int, note: str) -> Share:
    if not n:
        return Share(None, None, None, note)
    return Share(successes / n, *wilson(successes, n))
