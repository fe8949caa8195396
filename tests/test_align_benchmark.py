"""benchmarks/align.py runs from end to end on a tiny shape, so that it will on a GPU; that both ways agree it asserts itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def align(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, with both sides in this process: a process each takes longer than a test may."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    import align
    import sides

    def here(one: Any, other: Any) -> tuple[Any, Any]:
        costs = []
        for work in (one, other):
            turns: list[float] = []
            result = work(lambda turns=turns: turns.append(1.0))
            costs.append(sides.Cost(tuple(turns[1:]), 1024, result))
        return costs[0], costs[1]

    monkeypatch.setattr(align, "Sides", lambda *_: here)
    yield align
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def run(align: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["align.py", *arguments])
    align.main()


def test_every_method_and_batch_gives_a_row(
    align: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(align, monkeypatch, *"--json --shape tiny --what npo --batch 1 2 --rows 2 --epochs 1".split())
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["what"], row["batch"]) for row in rows] == [("npo", 1), ("npo", 2)]
    for row, steps in zip(rows, (2, 1), strict=True):
        assert row["parity"] < 1e-3 and row["memory_ratio"] == 1.0
        assert row["speedup"] == round(steps / (1 + steps), 2)  # a second a piece, and the cache is one more of ours
        assert row["reference_answers"] == 4
        assert row["tokens_per_s"] > 4 * 576 / (1 + steps) and row["matmul_share"] > 0


def test_a_gpu_that_is_not_there_is_said_in_a_line(align: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU here for --device cuda"):
        run(align, monkeypatch, "--device", "cuda")


def test_without_trl_its_rows_are_left_out(
    align: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(align.trl_steps, "installed", lambda: False)
    run(align, monkeypatch, "--rival", "trl", "--json")
    said = capsys.readouterr()
    assert said.out == "" and "skipped" in said.err


def test_sides_take_turns_and_say_what_they_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In processes, though of nothing but Python and PyTorch."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "two_sides.py").write_text(
        "def side(name, pieces, book, turn):\n"
        "    held = bytearray(64 << 20) if name == 'heavy' else None\n"
        "    turn()\n"
        "    for _ in range(pieces):\n"
        "        with open(book, 'a') as file:\n"
        "            file.write(name[0])\n"
        "        turn()\n"
        "    return name\n"
    )
    import sides
    import two_sides

    book = tmp_path / "book"
    heavy, light = sides.Sides("cpu", 1, partial(int))(
        partial(two_sides.side, "heavy", 3, book), partial(two_sides.side, "light", 2, book)
    )
    assert book.read_text() == "hlhlh"
    assert (heavy.result, len(heavy.pieces)) == ("heavy", 3) and (light.result, len(light.pieces)) == ("light", 2)
    assert 60 <= heavy.peak - light.peak <= 70
    for name in ("sides", "meter", "two_sides"):
        del sys.modules[name]
