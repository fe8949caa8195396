"""Whether a rewrite still asks for what the question asked for, told offline: do both speak of the same things?

    kept = sigmoid(((n(question, rewrite) + n(rewrite, question)) / 2 - 0.45) / 0.1)

n is the mean cosine of each content word with the nearest word of the other text, rare words weighing more (judges/relevance.py).
It sees a rewrite that speaks of something else. It does not see who does what to whom, a "not", or a request that was
softened with its own words: for that `intent = "model"` asks a model. `benchmarks/rewrite_intent.py` measures it.
"""

from __future__ import annotations

import math

from unmirage.judges.relevance import nearness

LIMIT, SCALE = 0.45, 0.1


def kept(question: str, rewrite: str) -> float | None:
    """More than 0.5: the same things are spoken of; less: others; None: one of the two names none."""
    there, back = nearness(question, rewrite), nearness(rewrite, question)
    if there is None or back is None:
        return None
    return 1 / (1 + math.exp(-((there + back) / 2 - LIMIT) / SCALE))
