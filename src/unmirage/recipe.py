"""A recipe: one TOML file that says everything a run does, validated before anything is spent.

Unknown keys are errors that name the nearest valid key. `extends = "name"` starts from another recipe: tables are
merged key by key, everything else (lists too) is replaced. `--set key.path=value` overrides single values.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

T = TypeVar("T")
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class RecipeError(ValueError):
    """The recipe is at fault; the message says where, and what to write instead."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class _OpenTable(BaseModel):
    """A table whose further keys are the fields of the registered thing it names."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The keys beyond the declared ones."""
        return dict(self.model_extra or {})


class Lora(_Table):
    """Low-rank adapters instead of full weights. `targets` is a regular expression over module names."""

    r: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    targets: str = (
        r".*(language_model|text_model)\.layers\.\d+\.(self_attn|mlp)"
        r"\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    )


class Model(_Table):
    """The model under test: `path` is "toy", a folder, or a hub id."""

    path: str
    adapter: str = ""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    threads: Count = 1
    train: str = r"^(?!.*(vision_tower|vision_model)).*$"
    lora: Lora | None = None


class Source(_Table):
    """One named data set: its format (`unmirage list datasets`), where it lies, and which part of it is meant.

    `columns` maps fields of an example to columns of a plain table: `{ prompt = "question", response = "reply" }`.
    """

    format: str
    path: str = ""
    split: str = ""
    limit: Count | None = None
    columns: dict[str, str] = {}


class Term(_OpenTable):
    """One weighted summand of the loss, on one of the recipe's data sets."""

    term: str
    stream: str
    weight: float = 1.0


class Probe(_Table):
    """A look at the model while it trains: `limit` examples of some edits, after each of the steps in `at`."""

    at: list[int] = []
    edits: list[str] = ["none"]
    limit: Count = 64


class Train(_Table):
    """How the loss is minimised: AdamW with warm-up and decay."""

    steps: Count
    lr: Positive
    batch_size: Count = 16
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Share = 0.03
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    clip: Annotated[float, Field(ge=0.0)] = 1.0
    accumulate: Count = 1
    checkpoint_every: Count = 50
    probe: Probe = Probe()


class Attack(_OpenTable):
    """One edit of a test split. `name` is the edit's name in every estimate; `tries` > 1 means best-of-K."""

    name: str
    split: str
    attack: str


class Judge(_OpenTable):
    """One judge of the answers (`unmirage list judges`)."""

    judge: str


class Evaluate(_Table):
    """How answers are generated (greedy) and in what portions."""

    batch_size: Count = 64
    max_new_tokens: Count = 256


class Forgetset(_Table):
    """How `unmirage forgetset` builds: `tries` answers a row are sampled; `retain` rows are kept, all there are if not said.

    `judge` chooses the most harmful try, named as on the command line (`rubric:harm-graded,model=...`); empty: the protected
    answer where it is known, else the longest.
    """

    form: Literal["npo", "rmu"] = "npo"
    tries: Count = 4
    retain: Count | None = None
    judge: str = ""


class Audit(_Table):
    """Which words `unmirage audit` tries on the model, and how it proves its finds.

    `words` most frequent English words and those of `file` (one a line) are brought in by `form`, with each of `marks` as final
    mark ("" leaves it alone), on up to `prompts` questions of a split. The best `finalists` are confirmed on questions not
    searched on, beside `placebos` words. `sweep` scores every word on every question. `probe` answers check the score.
    """

    words: Annotated[int, Field(ge=0, le=20_000)] = 2000
    file: str = ""
    form: Literal["replace", "prepend"] = "replace"
    marks: tuple[Literal["", "?", "."], ...] = ("",)
    prompts: Count = 200
    finalists: Count = 8
    placebos: Annotated[int, Field(ge=10)] = 10
    sweep: bool = False
    probe: Count = 200


class Recipe(_Table):
    """Everything one run does."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    model: Model
    data: dict[str, Source]
    splits: dict[str, Literal["unsafe", "benign"]] = {}
    terms: list[Term] = []
    train: Train | None = None
    attacks: list[Attack] = []
    judges: list[Judge] = []
    partial: Literal["refused", "complied", "apart"] = "refused"
    evaluate: Evaluate = Evaluate()
    forgetset: Forgetset = Forgetset()
    audit: Audit = Audit()


def shipped() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("unmirage").joinpath("recipes")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load(recipe: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe file or shipped recipe named `recipe` and apply `key.path=value` overrides.

    Raises:
        RecipeError: no such recipe, broken TOML, an unknown key, a wrong type, or a reference to nothing.
    """
    table = _read(recipe, ())
    for override in overrides:
        _override(table, override)
    try:
        made = Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{recipe}: {_explain(error)}") from error
    _check_references(made, recipe)
    return made


def build(kind: str, registry: Mapping[str, type[T]], name: str, settings: Mapping[str, Any]) -> T:
    """Make the registered thing `name` with `settings` as its fields; `kind` ("term", "judge", ...) is for errors."""
    if name not in registry:
        raise RecipeError(f"unknown {kind} {name!r}{_nearest(name, registry)}; known: {', '.join(sorted(registry))}")
    made = registry[name]
    fields = [f.name for f in dataclasses.fields(made)]  # type: ignore[arg-type]  # every registry holds dataclasses
    for key in settings:
        if key not in fields:
            raise RecipeError(f"{kind} {name!r} has no setting {key!r}{_nearest(key, fields)}; it has: {', '.join(fields)}")
    try:
        return TypeAdapter(made).validate_python(dict(settings))
    except ValidationError as error:
        raise RecipeError(f"{kind} {name!r}: {_explain(error)}") from error


def _read(recipe: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if recipe in seen:
        raise RecipeError(f"recipes extend each other in a circle: {' -> '.join((*seen, recipe))}")
    path = Path(recipe)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif recipe in shipped():
        text = resources.files("unmirage").joinpath("recipes", f"{recipe}.toml").read_text(encoding="utf-8")
    else:
        raise RecipeError(f"no recipe {recipe!r}{_nearest(recipe, shipped())}: neither a file nor one of {', '.join(shipped())}")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{recipe}: not valid TOML: {error}") from error
    base = table.pop("extends", None)
    return table if base is None else _merge(_read(str(base), (*seen, recipe)), table)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _override(table: dict[str, Any], override: str) -> None:
    path, found, text = override.partition("=")
    if not found or not path:
        raise RecipeError(f"--set wants key.path=value, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path.split(".")
    place: Any = table
    try:
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[int(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise RecipeError(f"--set {override!r}: there is nothing at {path!r}") from error


def _check_references(recipe: Recipe, source: str) -> None:
    """Every name that points at a data set or a split must point at one."""
    named = [(f"terms.{i}.stream", t.stream, "data", recipe.data) for i, t in enumerate(recipe.terms)]
    named += [("splits", split, "data", recipe.data) for split in recipe.splits]
    named += [(f"attacks.{i}.split", a.split, "splits", recipe.splits) for i, a in enumerate(recipe.attacks)]  # type: ignore[misc]
    for where, name, table, known in named:
        if name not in known:
            hint = f"{_nearest(name, known)}; [{table}] has: {', '.join(known)}"
            raise RecipeError(f"{source}: {where} names {name!r}{hint}")
    if bool(recipe.terms) != (recipe.train is not None):
        raise RecipeError(f"{source}: [[terms]] and [train] go together; one of them is missing")


def _explain(error: ValidationError) -> str:
    """One line for the first fault: where, what, and the nearest valid key. A misspelt key goes before a missing one."""
    faults = error.errors()
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        key = str(fault["loc"][-1])
        valid = _valid_keys(fault["loc"][:-1])
        return f"unknown key {where!r}{_nearest(key, valid)}; valid here: {', '.join(valid)}"
    if fault["type"] == "missing":
        return f"{where!r} is missing"
    said = fault["msg"].removeprefix("Value error, ")
    return f"{where!r}: {said[:1].lower()}{said[1:]}, got {fault['input']!r}" if where else said


def _valid_keys(location: tuple[int | str, ...]) -> list[str]:
    table: type[BaseModel] = Recipe
    tables: dict[str, type[BaseModel]] = {
        "model": Model,
        "lora": Lora,
        "data": Source,
        "terms": Term,
        "train": Train,
        "probe": Probe,
    }
    tables |= {"attacks": Attack, "judges": Judge, "evaluate": Evaluate, "forgetset": Forgetset, "audit": Audit}
    for part in location:
        table = tables.get(str(part), table)
    return list(table.model_fields)


def _nearest(name: str, valid: Mapping[str, Any] | Sequence[str]) -> str:
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
