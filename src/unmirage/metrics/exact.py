"""Exact match of a short answer, as GQA (arXiv 1902.09506) is scored.

- `official`: what LLaVA hands to GQA's evaluation (scripts/convert_gqa_for_eval.py), the answer in lower case without full
  stops at its end, equals the reference.
- `lmms-eval`: capitals and punctuation are ignored on both sides.
"""

from __future__ import annotations

import string
from typing import Literal

Mode = Literal["official", "lmms-eval"]

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def same(answer: str, reference: str, mode: Mode) -> bool:
    """Whether `answer` is the reference."""
    if mode == "lmms-eval":
        return answer.lower().translate(_PUNCTUATION) == reference.lower().translate(_PUNCTUATION)
    return answer.rstrip(".").lower() == reference
