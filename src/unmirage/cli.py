"""The command line: arguments to steps. Nothing heavy is imported before a command needs it.

Exit status: 0 done; 1 the input is at fault (one line on standard error); 2 usage; 3 a step failed and can be resumed;
130 interrupted, and resumable.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from unmirage import processes, recipe, runs
from unmirage.colours import tint
from unmirage.progress import be_quiet
from unmirage.records import WordEffect, read_lines, to_dict

AGAIN = "run the same command again: it goes on where it stopped"


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="unmirage",
        description="Is a vision-language model's safety real or a mirage? Find the words, break it, repair it.",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="of unmirage, Python and what a run depends on")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name: str, does: Callable[[argparse.Namespace], Any], summary: str, out: str = "DIR") -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=summary, description=summary)
        sub.set_defaults(does=does)
        sub.add_argument("--json", action="store_true", help="machine-readable result alone on standard output")
        what = "the run folder" if out == "DIR" else "the copy to write"
        sub.add_argument("--out", type=Path, metavar=out, help=what, required=out != "DIR")
        sub.add_argument("-q", "--quiet", action="store_true", help="no progress bars, no summary")
        sub.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
        return sub

    demo = verb("demo", _demo, "the whole story on the toy world, and a report")
    demo.add_argument("--seed", type=int, default=0, metavar="N")
    lint = verb("lint", _lint, "what shortcut does this data set teach? (needs no model)")
    lint.add_argument("path", nargs="+", metavar="PATH")
    lint.add_argument("--format", default="auto", metavar="NAME")
    lint.add_argument("--columns", action="append", default=[], metavar="FIELD=COLUMN", help="for plain tables: what a column is")
    lint.add_argument("--test", metavar="FILE", help="score the shortcuts of PATH on this set")
    lint.add_argument("--fail-over", type=float, metavar="X", help="status 1 if words beat the majority by more than X (0-1)")
    lint.add_argument("--pictures", action="store_true", help="also look for missing or broken pictures")
    balance = verb("balance", _balance, "a copy whose openers, marks and moods no longer give the label away", out="PATH")
    balance.add_argument("path", metavar="PATH")
    balance.add_argument("--format", default="auto", metavar="NAME")
    balance.add_argument("--seed", type=int, default=0, metavar="N")
    balance.add_argument("--counter", action="store_true", help="instead: the rows that go against the shortcut, and only those")
    recipes: list[tuple[str, Callable[[argparse.Namespace], Any], str]] = [
        ("audit", _audit, "which words of the recipe move the model's refusals, with placebo controls"),
        ("forgetset", _forgetset, "forget and retain sets for unlearning, sampled from the recipe's model"),
        ("attack", _step("attack"), "write edited examples"),
        ("align", _align, "train: unlearn or fine-tune"),
        ("evaluate", _step("evaluate"), "respond, judge and measure, clean and attacked"),
        ("run", _step("everything"), "every step, skipping what is done"),
    ]
    for name, does, summary in recipes:
        sub = verb(name, does, summary)
        sub.add_argument("recipe", metavar="RECIPE", help="a TOML file, or the name of a shipped recipe")
        sub.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", dest="overrides")
        if name not in ("audit", "forgetset"):
            sub.add_argument("--jobs", type=int, default=1, metavar="N", help="so many runs of a suite at once, a process each")
        if name == "align":
            sub.add_argument("--explain", action="store_true", help="only say what would be trained: loss, masks, parameters")
            sub.add_argument("--find-rate", action="store_true", help="only try learning rates, from 1e-7 to 0.1")
    judge = verb("judge", _judge, "judge a run's stored answers again, or loose answers")
    judge.add_argument("target", type=Path, metavar="RUN|FILE.jsonl")
    judge.add_argument("--judge", action="append", default=[], metavar="NAME", dest="judges")
    report = verb("report", _report, "a report over one run, or several compared")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    label = verb("label", _label, "label a sample of answers by hand: how far the judges can be trusted")
    label.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders that hold several")
    label.add_argument("--sample", type=int, metavar="N", help="how many answers (150 if none is drawn yet)")
    label.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw")
    label.add_argument("--labeller", default="first", metavar="NAME", help="a second name labels the same sample again")
    label.add_argument("--port", type=int, default=0, metavar="PORT", help="of the page; 0 takes a free one")
    label.add_argument("--terminal", action="store_true", help="ask in the terminal instead of a page")
    lab = verb("lab", _lab, "a page to play with models: swap a word, see every answer side by side")
    lab.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders, or folders that hold several; none: the toy")
    lab.add_argument("--port", type=int, default=0, metavar="PORT", help="of the page; 0 takes a free one")
    listing = verb("list", _list, "what can be named in a recipe")
    listing.add_argument("kind", nargs="?", choices=["datasets", "attacks", "judges", "terms", "recipes", "models"])
    return top


class _Version(argparse.Action):
    """Read when asked for, so that every other command starts without."""

    def __call__(self, top: argparse.ArgumentParser, *_: Any) -> None:
        from unmirage.listing import environment

        print(environment())
        top.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    be_quiet(options.quiet)
    try:
        options.does(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _complain(f"interrupted; {AGAIN}", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.verbose:
            traceback.print_exc()
        return _explain(error, options.verb)
    return 0


def _explain(error: Exception, verb: str) -> int:
    """Say in one line what went wrong, and return the exit status it has."""
    if runs.disk_is_full(error):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return _complain(f"the disk is full{where}; nothing is lost. Free some space and {AGAIN}", 1)
    if isinstance(error, OSError | ValueError | runs.BusyError | runs.StaleError | ModuleNotFoundError):
        return _complain(str(error), 1)
    return _complain(f"{verb} failed: {type(error).__name__}: {error}; {AGAIN} (-v shows the traceback)", 3)


def _complain(message: str, status: int) -> int:
    print(f"{tint('unmirage:', 'red', sys.stderr)} {' '.join(message.split())}", file=sys.stderr)
    return status


def _step(name: str) -> Callable[[argparse.Namespace], None]:
    def does(options: argparse.Namespace) -> None:
        chosen = recipe.load(options.recipe, options.overrides)
        folder = options.out or Path("runs") / chosen.name
        from unmirage import steps

        if chosen.methods:
            _suite(options, chosen, folder, name)
            return
        with runs.hold(folder):
            run = runs.claim(folder, chosen)
            getattr(steps, name)(run)
        _show(options, run)

    return does


def _align(options: argparse.Namespace) -> None:
    if not (options.explain or options.find_rate):
        _step("align")(options)
        return
    chosen = recipe.load(options.recipe, options.overrides)
    if chosen.methods or not chosen.terms:
        what = "holds several methods: explain one of them by its own recipe" if chosen.methods else "trains nothing"
        raise ValueError(f"{options.recipe} {what}")
    from unmirage import explaining

    found, said = explaining.explanation(chosen) if options.explain else explaining.rates(chosen)
    print(json.dumps(found) if options.json else said)


def _suite(options: argparse.Namespace, chosen: recipe.Recipe, out: Path, name: str) -> None:
    """One step, or every step, of all methods of a recipe; after every step also their comparison and its report."""
    from unmirage import comparing, published, steps, suites

    some = suites.members(options.recipe, options.overrides)
    published.check(chosen.published)
    with runs.hold(out):
        folders = suites.carry_out(some, out, steps.CHAIN if name == "everything" else [getattr(steps, name)], options.jobs)
        if name == "everything":
            found = comparing.compare(some, out, chosen.compare)
            stand = [out / folder for row in found["methods"] for folder in row["folders"]]
            tampered = steps.tampered(some, found, out)
            page = steps.report(stand, out)
            chosen_by = {row["method"]: row["folders"] for row in found["methods"]}
            beside = published.lay_beside(chosen.published, some, out, chosen_by)
    if options.json:
        print(json.dumps(found if name == "everything" else [str(folder) for folder in folders], ensure_ascii=False))
    elif not options.quiet and name == "everything":
        print(f"{comparing.table(found)}{tampered}\n\n{beside}report: {page}")


def _audit(options: argparse.Namespace) -> None:
    from unmirage import steps
    from unmirage.audit import effects, finds

    chosen = recipe.load(options.recipe, options.overrides)
    folder = options.out or Path("runs") / chosen.name
    if chosen.methods:
        raise ValueError(f"{options.recipe} holds several methods; audit one of them by its own recipe")
    with runs.hold(folder):
        run = runs.claim(folder, chosen)
        for step in (steps.audit, steps.align, steps.evaluate, steps.audit_words):
            step(run)
    found = [effect for effect in read_lines(run.words, WordEffect) if effect.basis == "model"]
    if options.json:
        print(json.dumps([to_dict(effect) for effect in found], ensure_ascii=False))
    elif not options.quiet:
        print(effects.table([effect for effect in found if "/search-" not in effect.position]))
        print("\n" + finds.table(json.loads((run.folder / "audit.json").read_text(encoding="utf-8"))))


def _show(options: argparse.Namespace, run: runs.Run) -> None:
    """What a finished step has to show: the table of estimates, if there are any, and where the run lies."""
    if not processes.writes():
        return
    if options.json:
        print(run.estimates.read_text(encoding="utf-8") if run.estimates.exists() else json.dumps({"run": str(run.folder)}))
    elif not options.quiet:
        from unmirage.report.table import glance

        if run.estimates.exists():
            print(glance([run.folder]))
        print(f"run folder: {run.folder}")


def _demo(options: argparse.Namespace) -> None:
    from unmirage.demo import demo

    out = demo(options.out or Path("runs") / f"demo-seed{options.seed}", options.seed, talk=not (options.quiet or options.json))
    if options.json:
        print((out / "estimates.json").read_text(encoding="utf-8"))


def _lint(options: argparse.Namespace) -> None:
    from unmirage.audit import lint
    from unmirage.datasets import load

    columns = dict(pair.partition("=")[::2] for pair in options.columns)
    if options.fail_over is not None and not 0 <= options.fail_over <= 1:
        raise ValueError(f"--fail-over is a share from 0 to 1 above the majority class, not {options.fail_over:g}")
    examples = [example for path in options.path for example in load(options.format, path, "", 0, columns)]
    result = lint.lint(examples, load(options.format, options.test, "", 0, columns) if options.test else None)
    found, text = (lint.as_json(result) if options.json or options.out else {}), lint.table(result)
    if options.pictures:
        from unmirage.datasets import pictures

        bad = pictures.check(examples)
        found["pictures"] = bad
        text += "\n\n" + "\n".join([f"{len(bad)} missing or corrupt picture{'' if len(bad) == 1 else 's'}", *bad])
    if options.out is not None:
        from unmirage.report import write_lint

        text += f"\n\nreport: {write_lint(found, options.out, shlex.join(['unmirage', 'lint', *options.path]))}"
    print(json.dumps(found, ensure_ascii=False) if options.json else text)
    if options.fail_over is not None:
        lint.check(result, options.fail_over)


def _balance(options: argparse.Namespace) -> None:
    from unmirage.balance import write
    from unmirage.datasets import detect

    kind = detect(options.path) if options.format == "auto" else options.format
    made = write(options.path, str(options.out), kind, options.seed, options.counter)
    facts = {"out": str(made.out), "edits": str(made.edits), "edited": len(made.balanced.edits), "left": made.balanced.left}
    rules = {"one_word_rule_before": vars(made.rule_before), "one_word_rule_after": vars(made.rule_after)}
    print(json.dumps(facts | rules, ensure_ascii=False, default=str) if options.json else made.text)


def _forgetset(options: argparse.Namespace) -> None:
    from unmirage import steps
    from unmirage.forgetset import ForgetSettings
    from unmirage.forgetset.step import forgetset

    chosen = recipe.load(options.recipe, options.overrides)
    folder = options.out or Path("runs") / chosen.name
    with runs.hold(folder):
        run = runs.claim(folder, chosen)
        steps.begin(run)
        made = forgetset(run, ForgetSettings(**chosen.forgetset.model_dump(exclude={"judge"}), seed=chosen.seed))
    manifest = (made / "manifest.json").read_text(encoding="utf-8")
    print(manifest if options.json else f"{manifest}\nforget and retain sets: {made}")


def _judge(options: argparse.Namespace) -> None:
    from unmirage import steps

    if options.target.is_dir():
        with runs.hold(options.target):
            run = steps.judge_again(options.target, options.judges)
        _show(options, run)
        return
    from unmirage.judges import OFFLINE
    from unmirage.judges.loose import judge_file

    for line in judge_file(options.target, options.judges or OFFLINE):
        print(json.dumps(line, ensure_ascii=False) if options.json else f"{line['id']}\t{line['outcome']}\t{line['scores']}")


def _report(options: argparse.Namespace) -> None:
    from unmirage import steps

    out = options.out or (options.runs[0] if len(options.runs) == 1 else Path("runs") / "report")
    with runs.hold(out) if out.is_dir() else nullcontext():
        page = steps.report(options.runs, out)
    if options.json:
        print((out / "estimates.json").read_text(encoding="utf-8"))
    elif not options.quiet:
        print(f"report: {page}")


def _label(options: argparse.Namespace) -> None:
    from unmirage.lab import card_text
    from unmirage.lab.sitting import label

    if options.sample is not None and options.sample < 1:
        raise ValueError(f"--sample is a number of answers, at least 1, not {options.sample}")
    port = None if options.terminal else options.port
    card = label(options.runs, options.sample, options.seed, options.labeller, options.out, port)
    if options.json:
        print(json.dumps(dataclasses.asdict(card), ensure_ascii=False))
    elif not options.quiet:
        print(card_text.markdown(card))
        print(f"judge card: {(options.out or options.runs[0]) / 'judge-card.md'}")


def _lab(options: argparse.Namespace) -> None:
    from unmirage import steps
    from unmirage.lab.lab_page import lab

    kept = lab(options.runs, steps.open_model, options.out, options.port)
    if options.json:
        print(json.dumps({"cases": str(kept)}))


def _list(options: argparse.Namespace) -> None:
    from unmirage import listing

    kinds = [options.kind] if options.kind else list(listing.KINDS)
    if options.json:
        print(json.dumps({kind: list(listing.KINDS[kind]()) for kind in kinds}))
    else:
        print(listing.table(kinds))


if __name__ == "__main__":
    sys.exit(main())
