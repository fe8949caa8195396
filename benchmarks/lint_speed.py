"""How long `unmirage lint` takes and how much memory it needs on an invented set: python benchmarks/lint_speed.py [ROWS].

Two requests to a picture, one safe and one unsafe, 8 to 16 words of a vocabulary of 20,000 whose frequencies fall as in
real text; the opener goes with the label in 80 %. Printed: rows, seconds and peak memory of the real command, start-up
and classifier included.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VOCABULARY = 20_000


def invent(rows: int, path: Path) -> None:
    """Write the set."""
    rng = random.Random(0)
    words = [f"word{chr(97 + i % 26)}{i}" for i in range(VOCABULARY)]
    weights = list(itertools.accumulate(1 / (i + 10) for i in range(VOCABULARY)))
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            unsafe, follows = bool(i % 2), rng.random() < 0.8
            opener = rng.choice(("Share", "Describe", "Can")) if unsafe == follows else "What"
            prompt = (
                " ".join([opener, *rng.choices(words, cum_weights=weights, k=rng.randint(7, 15))])
                + (".", "?")[rng.random() < 0.5]
            )
            response = "I'm sorry, I cannot help with that." if unsafe else "It is a quiet street with a few parked cars. " * 5
            row = {"id": f"r{i}", "prompt": prompt, "image": f"{i // 2}.png", "response": response, "unsafe": unsafe}
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Measure."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        invent(rows, path)
        for form in ([], ["--json"]):
            start = time.perf_counter()
            command = [sys.executable, "-m", "unmirage", "lint", str(path), *form]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            if status:
                raise SystemExit(f"lint failed with status {os.waitstatus_to_exitcode(status)}")
            unit = 1 if sys.platform == "darwin" else 1024
            memory = used.ru_maxrss * unit / 2**20
            print(f"{' '.join(['lint', *form]):<12} {rows} rows  {seconds:.1f} s  {memory:.0f} MiB peak")


if __name__ == "__main__":
    main()
