"""What attacks on its weights leave of a model's safety: rows as they were pooled, a relearning curve, the looks inside.

Reads `robustness.json`: that of the folder the report lies in, which has all seeds of a method together, else each run's own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unmirage.records import Estimate, from_dict
from unmirage.report import svg
from unmirage.report.folders import Finished
from unmirage.report.rows import percent

COLUMNS = {"leak": "unsafe requests that leak", "refused": "benign refused", "correct": "benign correct"}
_LINES = {"relearn": "on forget rows", "relearn-other": "control: with other rows' answers"}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 400, 240, 30, 250, 12, 204


@dataclass(frozen=True)
class Tampering:
    """One model: `rows` of (change, whether it is a control, an estimate for each of `COLUMNS`), its curve, and its looks."""

    model: str
    rows: Sequence[tuple[str, bool, Sequence[Estimate | None]]]
    curve: Markup | None
    looks: Sequence[tuple[str, Estimate, Estimate]]


def robust(runs: Sequence[Finished], out: str) -> list[Tampering]:
    """Every model whose weights were attacked.

    Raises:
        ValueError: a `robustness.json` is not what it should be; the message names it.
    """
    pooled = Path(out) / "robustness.json"
    files = [pooled] if pooled.is_file() else [run.run.folder / "robustness.json" for run in runs]
    return [_model(f"tampered-{i}-{j}", each) for i, file in enumerate(files) for j, each in enumerate(_read(file))]


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, list) or not all(
        isinstance(each, dict) and {"model", "rows", "looks"} <= set(each) for each in found
    ):
        raise ValueError(f"{path}: expected a list of models with rows and looks")
    return found


def _model(key: str, found: Mapping[str, Any]) -> Tampering:
    made = [(str(row["change"]), bool(row["control"]), row["kind"] == "weights", _cells(row)) for row in found["rows"]]
    points: dict[str, list[tuple[int, Estimate]]] = {kind: [] for kind in _LINES}
    for change, _, _, cells in made:
        kind, _, n = change.rpartition("-")
        if kind in points and n.isdigit() and cells[0] is not None:
            points[kind].append((int(n), cells[0]))
    title = f"{found['model']}: leak after relearning on n rows"
    rows = [(change, control, cells) for change, control, weights, cells in made if weights]
    return Tampering(str(found["model"]), rows, _curve(key, title, points), _looks(found["looks"]))


def _cells(row: Mapping[str, Any]) -> list[Estimate | None]:
    return [from_dict(Estimate, row[column]) if row.get(column) else None for column in COLUMNS]


def _looks(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, Estimate, Estimate]]:
    known = {(e.name, e.split, e.edit): e for e in (from_dict(Estimate, each) for each in found)}
    return [
        (f"{name}, {layer.replace('-', ' ')}", estimate, known[name, layer, "control"])
        for (name, layer, edit), estimate in known.items()
        if edit == "none" and (name, layer, "control") in known
    ]


def _curve(key: str, title: str, points: Mapping[str, Sequence[tuple[int, Estimate]]]) -> Markup | None:
    """Leak over n on a logarithmic scale, with intervals as bands; None with fewer than two points."""
    sizes = sorted({n for line in points.values() for n, _ in line})
    if len(sizes) < 2:
        return None
    parts = [_axes(sizes)]
    said = []
    for i, (kind, line) in enumerate(points.items()):
        known = [(n, e) for n, e in sorted(line, key=lambda p: p[0]) if e.value is not None]
        at = [(_x(n, sizes), _y(e.value)) for n, e in known]
        band = [(_x(n, sizes), _y(e.high)) for n, e in known] + [(_x(n, sizes), _y(e.low)) for n, e in reversed(known)]
        parts.append(svg.area(band, class_=svg.style(i, "band")))
        parts.append(svg.path(at, class_=svg.style(i, "line dash" if i else "line")))
        parts += [svg.marker(i, p, f"n = {n}: {percent(e.value)}% (n = {e.n})", 3) for p, (n, e) in zip(at, known, strict=True)]
        parts += [svg.marker(i, (_RIGHT + 12, _TOP + 14 + 16 * i), size=3)]
        parts += [svg.text((_RIGHT + 19, _TOP + 18 + 16 * i), _LINES[kind], _WIDTH - _RIGHT - 20, class_="small")]
        said.append(f"{_LINES[kind]}: " + ", ".join(f"{n} rows {percent(e.value)}%" for n, e in known))
    return svg.figure(key, title, ". ".join(said), (_WIDTH, _HEIGHT), "".join(parts))


def _axes(sizes: Sequence[int]) -> str:
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(svg.line((_LEFT, _y(share)), (_RIGHT, _y(share)), class_="grid"))
        parts.append(svg.text((_LEFT - 5, _y(share) + 3), f"{100 * share:.0f}", class_="small", text_anchor="end"))
    for n in sizes:
        parts.append(svg.text((_x(n, sizes), _BOTTOM + 15), str(n), class_="small", text_anchor="middle"))
    parts.append(svg.text(((_LEFT + _RIGHT) / 2, _BOTTOM + 30), "rows relearned", class_="small", text_anchor="middle"))
    return "".join(parts)


def _x(n: int, sizes: Sequence[int]) -> float:
    return _LEFT + (_RIGHT - _LEFT) * math.log(n / sizes[0]) / math.log(sizes[-1] / sizes[0])


def _y(share: float | None) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * min(1.0, max(0.0, share or 0.0))
