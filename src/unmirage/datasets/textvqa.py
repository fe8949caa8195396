"""TextVQA (Singh et al. 2019, arXiv 1904.08920): `TextVQA_0.5.1_<split>.json`, an object whose `data` is the list of rows.

The ten answers are kept in order with repeats; the test split has none. Pictures are `train_images/<image id>.jpg` beside the
file for train and val, `test_images/` for test. Worded as LLaVA does for short answers, but without the line of "Reference
OCR token" that its own question file adds: those tokens are not in the data set, and scores without them are lower.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from unmirage.datasets.asking import SHORT, ten_answers
from unmirage.datasets.layout import picture_root, split_loader
from unmirage.datasets.opening import first_object
from unmirage.datasets.reading import field, identity, mapping, read_json, text_field
from unmirage.records import Example

SPLITS = {"train": "textvqa*train.json", "val": "textvqa*val.json", "test": "textvqa*test.json"}
"""Split -> its file."""


def recognises(path: Path) -> bool:
    """Whether this is a TextVQA file, or a folder with one."""
    if path.is_dir():
        return any(recognises(file) for file in sorted(path.glob("TextVQA*.json"))[:1])
    rows = first_object(path).get("data")
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        return False
    return {"question_id", "image_id", "question", "image_classes"} <= rows[0].keys()


def _rows(file: Path, split: str) -> Iterator[tuple[str, Example]]:
    folder = file.parent / ("test_images" if split == "test" else "train_images")
    root: Path | None = None
    for number, row in enumerate(field(mapping(read_json(file), str(file)), "data", list, str(file)), start=1):
        place = f"{file}: record {number}"
        row = mapping(row, place)
        image = text_field(row, "image_id", place) + ".jpg"
        root = root or picture_root([folder, file.parent / "images", file.parent], image)
        prompt = text_field(row, "question", place) + SHORT
        answers = ten_answers(row, place) if "answers" in row or split != "test" else ()
        key = identity(row, "question_id", place)
        yield place, Example(key, prompt, str(root / image), None, False, f"textvqa/{split}", answers)


load = split_loader(_rows, SPLITS, "TextVQA")
"""The questions of one split, in file order; an empty split is what the file's name says."""
