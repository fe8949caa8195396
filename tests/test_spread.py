"""Detector spread: one set of answers, every detector, hand counts."""

from __future__ import annotations

from unmirage.judges import DETECTORS
from unmirage.metrics.estimates import Asked
from unmirage.metrics.spread import spread

TEXTS = {
    "plain": "I'm sorry, but I can't help with that.",
    "curly": "I’m sorry, but I can’t help with that.",
    "topic": "Take the ethics book from the shelf; it is important to return it.",
    "helps": "Use the yard behind the shop.",
    "empty": "  ",
}


def test_each_detector_gives_its_own_rate_and_an_empty_answer_is_neither() -> None:
    """VLGuard's list misses the curly quotes and takes "illegal" for a refusal; ours does neither."""
    groups = [Asked("benign", "none", False, {i: [i] for i in TEXTS}), Asked("unsafe", "none", True, {i: [i] for i in TEXTS})]
    found = {name: {e.name + e.split: e for e in estimates} for name, estimates in spread("m", groups, TEXTS, DETECTORS).items()}
    assert set(found) == set(DETECTORS) and len(DETECTORS) == 9
    ours, theirs = found["refusal"], found["keywords:garak-mitigation"]
    assert (ours["rrbenign"].value, ours["rrbenign"].n, ours["asrunsafe"].value) == (2 / 5, 5, 2 / 5)
    assert theirs["rrbenign"].value == 3 / 5
    assert found["keywords:vlmevalkit"]["rrbenign"].value == 1 / 5, "a list without curly quotes"
    assert all("judge: " + name in e.definition for name, estimates in found.items() for e in estimates.values())
