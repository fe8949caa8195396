"""Which lettered choice an answer picks, and MMBench's circular score.

- `official`: ScienceQA as LLaVA scores it (llava/eval/eval_science_qa.py, commit c121f04). A bare letter; else a letter and ". "
  at the beginning; else the letter of the one "The answer is X." in the text. A letter that is not on offer is none.
- `mmbench`: MMBench by exact matching (VLMEvalKit's rule before it asks a model). The one letter among the words, marks taken
  away, but not in more than three words that have an "A", which may be the article; else the one choice whose text is in it.
- `lmms-eval`: its ScienceQA task. A bare letter, or a capital and "." at the beginning.

An answer of which no rule makes a choice is wrong: the benchmarks either ask a model then, or guess; we do neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Mode = Literal["official", "mmbench", "lmms-eval"]

_CHOICE = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)
_SAYS = re.compile(r"The answer is ([A-Z]).")
_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_LETTERS = "ABCDE"
_COPY = 1_000_000


def offered(prompt: str) -> dict[str, str]:
    """The choices in a question, by letter: its lines "A. ...", "B. ..." and so on."""
    found: dict[str, str] = {}
    for letter, text in _CHOICE.findall(prompt):
        if letter == "A":
            found = {}
        if letter == chr(ord("A") + len(found)):
            found[letter] = text
    return found


def picked(answer: str, choices: Mapping[str, str], mode: Mode) -> str | None:
    """The letter that `answer` picks among `choices` (letter -> text); None if no rule tells."""
    if mode == "mmbench":
        return _letter_among_words(answer, choices) or _only_text(answer, choices)
    if mode == "lmms-eval":
        bare = answer if len(answer) == 1 else answer[:1] if answer[1:2] == "." and answer[:1].isupper() else ""
    elif answer in choices or (answer[1:3] == ". " and answer[0] in _LETTERS):
        bare = answer[:1]
    else:
        told = _SAYS.findall(answer)
        bare = told[0] if len(told) == 1 else ""
    return bare if bare in choices else None


def circular(right: Mapping[int, bool]) -> dict[int, bool]:
    """MMBench's score: a question counts only if it is right in every order of its choices.

    Args:
        right: by index; a question in another order has the index of the first plus a multiple of 1,000,000.
    """
    found: dict[int, bool] = {}
    for index, good in right.items():
        found[index % _COPY] = found.get(index % _COPY, True) and good
    return found


def _letter_among_words(answer: str, choices: Mapping[str, str]) -> str | None:
    words = answer.translate(_MARKS).split()
    said = [letter for letter in choices if letter in words]
    if len(said) != 1 or ("A" in words and len(words) > 3):
        return None
    return said[0]


def _only_text(answer: str, choices: Mapping[str, str]) -> str | None:
    found = [letter for letter, text in choices.items() if text.lower() in answer.lower()]
    return found[0] if len(found) == 1 else None
