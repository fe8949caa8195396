"""The report as Markdown: verdict, every estimate, definitions, and how to make it again."""

from __future__ import annotations

import html
from collections.abc import Sequence

from unmirage.report.categories import worst_cells
from unmirage.report.compared import HEAD, Compared
from unmirage.report.finding import find
from unmirage.report.folders import Finished
from unmirage.report.lesson import Lesson, lessons, one_digit
from unmirage.report.moved import PICTURED, Moved, Side, moved
from unmirage.report.outcomes import OUTCOMES, Answers, answers
from unmirage.report.remake import commands
from unmirage.report.robust import COLUMNS, Tampering, robust
from unmirage.report.rows import Group, braced, cell, groups, percent
from unmirage.report.visible import one_line
from unmirage.report.wording import VERDICTS, headline, sentences


def markdown(runs: Sequence[Finished], out: str, compared: Compared | None = None) -> str:
    """`report.md` over `runs`; `out` is the folder that the report lies in, `compared` the comparison there, if any."""
    findings = find(runs)
    found = groups(runs)
    parts = [f"# {_safe(headline(findings))}"]
    said = [f"- **{_safe(f.model)}: {VERDICTS[f.outcome]}.** {_safe(sentences(f, bounds=True))}" for f in findings]
    parts.append("\n".join(said))
    if cells := worst_cells(runs):
        parts.append("\n".join(f"- {_safe(line)}" for line in cells))
    parts.append(
        'Percent with 95% intervals; "-" where nothing was measured; {braces}: if all undetermined answers fell to one side, or '
        "to the other. The rule behind the verdict is on the HTML page."
    )
    if compared is not None:
        parts.append(_compared(compared))
    parts += [_table(runs, group) for group in found]
    parts += [_outcomes(runs, each) for each in answers(runs)]
    parts += [_lesson(each) for each in lessons([(run.name, run.taught) for run in runs])]
    parts += [_moved(each) for each in moved(runs, pictures=False)]
    parts += [_tampered(each) for each in robust(runs, out)]
    parts.append("## Definitions\n\n" + "\n".join(f"- {_safe(g.title)}: {_safe(d)}" for g in found for d in g.definitions))
    parts.append("## Made with\n\n```\n" + "\n".join(one_line(c).replace("```", "'''") for c in commands(runs, out)) + "\n```")
    return "\n\n".join(parts) + "\n"


def _compared(found: Compared) -> str:
    lines = [
        "## Methods at equal utility",
        "",
        _safe(found.said),
        "",
        _line(HEAD),
        _line(["---", "---", *("---:" for _ in HEAD[2:])]),
    ]
    lines += [_line(row.cells) for row in found.rows]
    return "\n".join([*lines, "", *(f"- {_safe(pair)}" for pair in found.pairs)])


def _table(runs: Sequence[Finished], group: Group) -> str:
    head = ["", *(run.name for run in runs)]
    lines = [f"## {_safe(group.title[:1].upper() + group.title[1:])} ({_safe(group.counts)})", ""]
    lines += [_line(head), _line(["---", *("---:" for _ in runs)])]
    lines += [_line([row.kind.label, *(f"{cell(c)} {braced(c)}".strip() for c in row.cells)]) for row in group.rows]
    return "\n".join(lines)


def _outcomes(runs: Sequence[Finished], found: Answers) -> str:
    """What became of the answers of one split, one line per edit and run."""
    lines = [f"## What became of the answers to {_safe(found.split)} requests", "", _line(["", "model", *OUTCOMES, "n"])]
    lines.append(_line(["---", "---", *("---:" for _ in OUTCOMES), "---:"]))
    for row in found.rows:
        for run, shares in zip(runs, row.shares, strict=True):
            if shares is not None:
                lines.append(_line([row.kind.label, run.name, *(percent(s.value) for s in shares), str(shares[0].n)]))
    return "\n".join(lines)


def _lesson(each: Lesson) -> str:
    """What one tuning set teaches."""
    said = [f"right by words alone, {reached.name}: {one_digit(reached.share)}%" for reached in each.reached]
    said += [f"{shortcut}: {name}: {cell.rows} rows" for shortcut, cells in each.cells for name, cell, _ in cells]
    said += [f"{title}: {', '.join(s.effect.word for s in found)}" for title, found in each.words]
    said += [line for line in (each.pairs, *(f"warning: {warning}" for warning in each.taught.warnings)) if line]
    head = f"## What the tuning data teach ({_safe(', '.join(each.names))})"
    lines = "\n".join(f"- {_safe(line)}" for line in said)
    return f"{head}\n\n**{_safe(each.headline)}.** {each.counts}\n\n{lines}"


def _moved(part: Moved) -> str:
    """Which words move one run's model."""
    head = f"## Which words move this model ({_safe(part.name)})"
    lines = "\n".join(f"- {_safe(fact)}" for fact in part.facts)
    return "\n\n".join([head, f"**{_safe(part.headline)}.**", lines, *map(_side, part.sides)])


def _tampered(part: Tampering) -> str:
    """What attacks on one model's weights did, and the looks inside it."""
    rows = [[change, *map(cell, cells)] for change, _, cells in part.rows]
    looks = [[name, cell(own), cell(control)] for name, own, control in part.looks]
    lines = [f"## When the weights are attacked ({_safe(part.model)})", "", *_rows(["change", *COLUMNS.values()], rows)]
    return "\n".join([*lines, *(_rows(["look inside", "share", "control"], looks) if looks else [])])


def _side(side: Side) -> str:
    """What was found on one split."""
    lines = [f"### {_safe(side.title[:1].upper() + side.title[1:])}", "", _safe(side.said), ""]
    if side.finds:
        lines += _rows(side.head, [find.cells for find in side.finds])
    lines += [f"- {_safe(line, 2000)}" for line in (side.band, side.statement, *side.data) if line]
    if side.positions:
        lines += ["", "The strongest word at other places:", "", *_rows(side.placed, side.positions)]
    if side.pictures:
        lines += ["", "How much of the refusal is text alone:", "", *_rows(PICTURED, side.pictures)]
    return "\n".join(lines)


def _rows(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return [_line(head), _line(["---" for _ in head]), *map(_line, cells), ""]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_safe(c) for c in cells) + " |"


def _safe(text: str, limit: int = 400) -> str:
    """Text that Markdown shows as it is: no HTML, no cell borders, no code, no links."""
    shown = html.escape(one_line(text, limit), quote=False)
    for sign in ("\\", "|", "`", "*", "_", "!["):
        shown = shown.replace(sign, "".join("\\" + c for c in sign))
    return shown
