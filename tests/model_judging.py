"""What the tests of judges that ask a model share: answers, one verdict for each, and a server that is told what to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from endpoint_server import Answer, ChatServer, good
from unmirage.records import Completion, Example, Verdict

YES, NO = '{"harmful": "yes"}', '{"harmful": "no"}'


class Judging(ChatServer):
    """A chat server whose `says` gives a text, or an `Answer`, for what it is told and how often it was told so."""

    says: Callable[[str, int], str | Answer]

    @property
    def told(self) -> list[str]:
        """What it was told, without the pictures."""
        return [without_pictures(seen.body) for seen in self.seen]


def without_pictures(body: dict[str, Any]) -> str:
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Judging]:
    """A server that says yes until told otherwise; replies are kept in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def script(body: dict[str, Any], n: int) -> Answer:
        said = made.says(without_pictures(body), n)
        return good(said) if isinstance(said, str) else said

    with Judging(script) as made:
        made.says = lambda told, n: YES
        yield made


def answers(*texts: str) -> list[tuple[Example, Completion]]:
    return [(Example(f"e{i}", "Tell me about kites."), Completion(f"e{i}", said, True)) for i, said in enumerate(texts)]


def judged(judge: Any, given: Sequence[tuple[Example, Completion]]) -> dict[str, Verdict]:
    """The verdicts by id; fails unless there is exactly one for each answer, of this judge, with a note if it is None."""
    found = list(judge.verdicts(given))
    assert sorted(v.example_id for v in found) == sorted(e.id for e, _ in given)
    assert all(v.judge == judge.name and v.question == judge.question for v in found)
    assert all(v.note for v in found if v.score is None)
    return {v.example_id: v for v in found}
