"""VQA accuracy, for questions that ten people answered: VQAv2 (arXiv 1612.00837), TextVQA, VizWiz.

    score = mean over the ten people i of  min(1, matches among the other nine / 3)

With m matches among the ten that is 0, .3, .6, .9 for m = 0, 1, 2, 3, and 1 from four on. What matches is told by a `Mode`:

- `official`: VQAv2's evaluation code (GT-Vision-Lab/VQA, commit a013f00). Answers are stripped; only if the ten people do not
  all say the same is anything else normalised. So "Yes" beside ten times "yes" scores 0.
- `evalai`: the answer processor of TextVQA's and VizWiz' challenges, which LLaVA and lmms-eval apply to these two sets (and LLaVA
  to what it submits for VQAv2): always normalised on both sides; commas and question marks go, and "'s" becomes a word.
- `lmms-eval`: its VQAv2 task since its change 794: as official, but always normalised, so its numbers are higher.

Quirks kept for parity: the look-behind of the full stop's rule is mistyped, so a full stop goes wherever no digit follows it, and
only the first 32 do; "none" is 0; the contractions were written for lower case, so that "im" stays "im".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Mode = Literal["official", "evalai", "lmms-eval"]

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOP = re.compile(r"\.(?!\d)")
_COMMA = {"official": re.compile(r"\d,\d"), "evalai": re.compile(r"\d,+\d"), "lmms-eval": re.compile(r"\d,+\d")}
_NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())} | {
    "none": "0"
}
_ARTICLES = ("a", "an", "the")
_APOSTROPHES = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd
how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't
'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll
who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def vqa_accuracy(answer: str, people: Sequence[str], mode: Mode) -> float:
    """The score of `answer` beside the answers of ten `people`: 0, .3, .6, .9 or 1."""
    said, others = _plain(answer), [_plain(person) for person in people]
    if mode != "official" or len(set(others)) > 1:
        said, others = normalised(answer, mode), [normalised(person, mode) for person in people]
    agree = [other == said for other in others]
    return sum(min(1.0, (sum(agree) - mine) / 3) for mine in agree) / len(agree)


def normalised(answer: str, mode: Mode) -> str:
    """`answer` without its punctuation, articles and capitals, with digits for number words and apostrophes put back."""
    text = answer
    if mode == "evalai":
        text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    words = _unpunctuated(_plain(text), mode).lower().split()
    kept = [word for word in (_NUMBERS.get(word, word) for word in words) if word not in _ARTICLES]
    return " ".join(_CONTRACTIONS.get(word, word) for word in kept)


def _plain(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _unpunctuated(text: str, mode: Mode) -> str:
    """A mark goes if it touches a space anywhere, or if there is a comma between digits; else it becomes a space."""
    found, gone = text, _COMMA[mode].search(text) is not None
    for mark in _PUNCTUATION:
        found = found.replace(mark, "" if gone or mark + " " in text or " " + mark in text else " ")
    return _FULL_STOP.sub("", found, count=32)


def _without_one() -> dict[str, str]:
    """What is written with one apostrophe too few -> as it should be, and one pair that the original has the wrong way round."""
    found = {"somebody'd": "somebodyd"}
    for right in _APOSTROPHES.split():
        found |= {right[:at] + right[at + 1 :]: right for at, letter in enumerate(right) if letter == "'"}
    return found


_CONTRACTIONS = _without_one()
