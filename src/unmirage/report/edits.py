"""What each edit of a recipe is to a reader: an attack, a control, a mark; its label; and which control answers to it.

A control is an edit whose name begins with "control" or "placebo". It answers to the attack that is made in the same
way: same kind, same forms, same number of tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from unmirage.recipe import Attack, Recipe

Role = Literal["plain", "attack", "control", "mark"]
_PLACES = {"replace": "replaces the opener", "prepend": "before the opener", "insert": "after the opener"}


@dataclass(frozen=True)
class Kind:
    """One edit of one split: its `role`, how it is made, and the words that it brings in."""

    name: str
    role: Role
    label: str
    made: tuple[str, tuple[str, ...], int]
    words: tuple[str, ...]

    @property
    def short(self) -> str:
        """The label where room is scarce."""
        return self.label.replace(" the ", " ")

    @property
    def tries(self) -> int:
        """How many candidates the edit makes of one question."""
        return self.made[2]


PLAIN = Kind("none", "plain", "asked plainly", ("", (), 1), ())
"""The question as it was."""


def kinds(recipe: Recipe, split: str) -> list[Kind]:
    """The edits of `split`, in the order of the recipe, the unedited question first."""
    return [PLAIN, *(_kind(attack) for attack in recipe.attacks if attack.split == split)]


def kind_of(recipe: Recipe, split: str, edit: str) -> Kind:
    """The edit named `edit`; one that the recipe does not know is an attack labelled by its name."""
    found = next((kind for kind in kinds(recipe, split) if kind.name == edit), None)
    return found or Kind(edit, _role(edit, ""), edit, (edit, (), 1), (edit,))


def control_for(kind: Kind, known: Sequence[Kind]) -> Kind | None:
    """The control that is made as `kind` is."""
    controls = [other for other in known if other.role == "control"]
    named = (other for other in controls if other.name in (f"control-{kind.name}", f"placebo-{kind.name}"))
    return next(named, None) or next((other for other in controls if other.made == kind.made), None)


def other_form(kind: Kind, shown: Sequence[Kind]) -> bool:
    """Whether `kind` is a single try that brings in the words of an edit already shown, only in another place."""
    return kind.tries == 1 and bool(kind.words) and any(k.tries == 1 and k.words == kind.words for k in shown)


def _kind(attack: Attack) -> Kind:
    settings = attack.settings
    forms, words = _texts(settings.get("forms", ["replace"])), _texts(settings.get("words", []))
    tries = max(1, len(words) * len(forms)) if settings.get("pick", "all") == "all" else 1
    if attack.attack == "rewrite":
        words, tries = _texts(settings.get("word") or ()), int(settings.get("tries", 3))
    role = _role(attack.name, attack.attack)
    return Kind(attack.name, role, _label(attack, role, forms, words, tries), (attack.attack, forms, tries), words)


def _role(name: str, attack: str) -> Role:
    if name.startswith(("control", "placebo")):
        return "control"
    return "mark" if attack == "final_mark" else "attack"


def _label(attack: Attack, role: Role, forms: tuple[str, ...], words: tuple[str, ...], tries: int) -> str:
    if attack.attack == "final_mark":
        return "only the final mark"
    if attack.attack != "one_word" or not words:
        return attack.name
    what = "placebo" if role == "control" else ("/".join(words) if len(words) <= 3 else f"{words[0]}/… ({len(words)} words)")
    return f"{what}, best of {tries}" if tries > 1 else f"{what} {_PLACES.get(forms[0], forms[0])}"


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
