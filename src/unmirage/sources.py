"""A data set as a recipe means it: read, rows chosen by their opener, balanced, drawn, and as many as asked for."""

from __future__ import annotations

import functools
import random
from pathlib import Path

from unmirage import datasets
from unmirage.balance import balance, redraw
from unmirage.records import Example
from unmirage.settings import Source
from unmirage.words import first_word


def load(source: Source, seed: int, folder: Path) -> list[Example]:
    """The examples that `source` names in a recipe with this `seed`, for the run in `folder`.

    Raises:
        FileNotFoundError: there is nothing at its path.
        ValueError: it cannot be read.
    """
    if source.format == "forgetset":
        found = datasets.load("jsonl", str(folder / source.path / "forgetset"), source.split, seed)
    else:
        found = datasets.load(source.format, source.path, source.split, seed, source.columns)
    if source.opener:
        word, others = source.opener.removeprefix("!").lower(), source.opener.startswith("!")
        found = [example for example in found if (first_word(example.prompt) != word) == others]
    if source.balance == "opener":
        found = redraw(found, seed)
    elif source.balance == "form":
        found = list(_formed(tuple(found), seed))
    if source.label:
        found = [example for example in found if example.unsafe is (source.label == "unsafe")]
    if source.shuffle:
        random.Random(f"shuffle/{seed}").shuffle(found)
    return found[: source.limit]


@functools.lru_cache(maxsize=4)
def _formed(examples: tuple[Example, ...], seed: int) -> tuple[Example, ...]:
    return balance(examples, seed).examples
