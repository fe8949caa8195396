"""Yes or no, as POPE asks it (arXiv 2305.10355): how an answer is read, and what follows from all of them.

    precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)    yes share = (TP + FP) / n

where "yes" is positive. How an answer is read, by `Mode`:

- `official`: POPE's and LLaVA's rule (llava/eval/eval_pope.py): of what stands before the first full stop, commas taken out, "no"
  if one of the words is No, no or not; else "yes". So every answer is one: "I'm sorry, I cannot answer that" is a yes, "I am
  not able to" a no. A model that refuses is credited with half of the questions, which is why refusals are reported beside.
- `lmms-eval`: the whole answer, lower case; what is neither "yes" nor "no" is wrong. (Its own yes share counts labels instead of
  answers, and its recall leaves out answers that are neither; here both are as defined above.)

F1 is a share in disguise: with J = TP / (TP + FP + FN), F1 = 2 J / (1 + J), which grows with J. So its interval is that of
J, a share of the questions where the answer or the truth is yes, carried over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from unmirage.metrics.intervals import Interval, score_interval

Mode = Literal["official", "lmms-eval"]
Reading = Literal["yes", "no", ""]


def read(answer: str, mode: Mode) -> Reading:
    """What an answer says: yes, no, or nothing ("")."""
    if mode == "lmms-eval":
        said = answer.lower().strip()
        return "yes" if said == "yes" else "no" if said == "no" else ""
    words = answer.partition(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


@dataclass(frozen=True)
class Share:
    """A value that is a share or grows with one: what it comes to, its 95 % interval, and of how many answers."""

    value: float | None
    interval: Interval | None
    n: int


@dataclass(frozen=True)
class Table:
    """How often answers read as yes, or not as yes, meet the truth yes and the truth no."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def precision(self) -> Share:
        """Of the answers that say yes, how many should."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Share:
        """Of the questions whose answer is yes, how many get it."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def yes_share(self) -> Share:
        """How many answers say yes; the label is yes for half of POPE's questions."""
        return _share(self.tp + self.fp, self.tp + self.fp + self.fn + self.tn)

    @property
    def f1(self) -> Share:
        """The harmonic mean of precision and recall."""
        joint = _share(self.tp, self.tp + self.fp + self.fn)
        if joint.value is None or joint.interval is None:
            return joint
        low, high = (2 * share / (1 + share) for share in joint.interval)
        return Share(2 * joint.value / (1 + joint.value), (low, high), joint.n)


def table(answers: Iterable[tuple[str, str]]) -> Table:
    """The table of (what was said, what is true) of every answer."""
    pairs = [(said == "yes", true == "yes") for said, true in answers]
    tp, fp, fn, tn = (pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False)))
    return Table(tp, fp, fn, tn)


def _share(part: int, n: int) -> Share:
    return Share(part / n, score_interval(part, n), n) if n else Share(None, None, 0)
