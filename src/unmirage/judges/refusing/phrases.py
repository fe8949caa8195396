"""The phrases of phrases.toml, as compiled expressions."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources
from typing import Any

_NAMED = re.compile(r"\{([a-z]+)\}")


@functools.cache
def pattern(kind: str) -> re.Pattern[str]:
    """One expression that matches any phrase of `kind`, on plain text; of `speaker`, with the word "i" before it.

    Raises:
        KeyError: phrases.toml has no such kind, or a phrase names words that it does not have.
    """
    phrases = [_filled(phrase) for phrase in _data()["patterns"][kind]]
    if all(phrase.startswith(r"\b") for phrase in phrases):
        return re.compile(rf"\b(?:{'|'.join(phrase[2:] for phrase in phrases)})")
    either = f"(?:{'|'.join(phrases)})"
    return re.compile(rf"i(?<![\w']i){either}" if kind == "speaker" else either)


def words(kind: str) -> tuple[str, ...]:
    """The entries of `kind`, for looking up as they are."""
    return tuple(_data()["patterns"][kind])


@functools.cache
def _data() -> dict[str, Any]:
    file = resources.files("unmirage").joinpath("judges", "refusing", "phrases.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _filled(phrase: str) -> str:
    return _NAMED.sub(lambda name: f"(?:{'|'.join(map(_filled, _data()['words'][name[1]]))})", phrase)
