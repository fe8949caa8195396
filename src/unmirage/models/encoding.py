"""Examples to tensors: the prompt through the model's own processor, the answer's tokens appended to it.

The prompt is tokenised exactly as for generation and the answer on its own, so what is learnt is what is generated.
Nothing is ever truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from unmirage.attacks.prefill import begun
from unmirage.datasets.pictures import open_picture
from unmirage.losses.batch import Batch, Segment
from unmirage.records import Example


@dataclass(frozen=True)
class Row:
    """One encoded example: `inputs` as the processor made them, for a batch of one, and a `Segment` per token (S,)."""

    inputs: dict[str, Tensor]
    segments: Tensor
    example: Example

    @property
    def picture_end(self) -> int:
        """How many tokens there are up to the last one of the picture; 0 without a picture."""
        places = (self.segments == Segment.IMAGE).nonzero()
        return int(places[-1]) + 1 if len(places) else 0


class Encoder:
    """Turns examples into rows and rows into batches, for one processor."""

    def __init__(self, processor: Any, image_token: int | None, longest: int | None) -> None:
        """`image_token` is the id that stands for a picture; `longest` the model's context length, if it has one."""
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.image_token = image_token
        self.longest = longest
        self._pictures: dict[str, dict[str, Tensor]] = {}

    def render(self, example: Example) -> str:
        """The prompt as the model's chat template words it, ending where the answer begins."""
        content: list[dict[str, str]] = [{"type": "text", "text": example.prompt}]
        if example.image is not None:
            content.insert(0, {"type": "image"})
        messages = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def encode(self, example: Example, with_response: bool) -> Row:
        """Encode one example, with its response as the answer if asked; else with what its answer is made to begin with.

        Raises:
            ValueError: no response to encode, no counted token, or more tokens than the model can take; the message
                names the example.
        """
        text = self.render(example)
        inputs = self._process(text, example)
        offsets = inputs.pop("offset_mapping", None)
        segments = self._segments(inputs["input_ids"][0], offsets, text, example)
        row = Row(inputs, segments, example)
        if with_response:
            if not example.response:
                raise ValueError(f"example {example.id} has no response to learn from")
            row = self.lengthen(row, [*self.tokens(example.response), self.tokenizer.eos_token_id])
        return self._fitting(row if with_response else self._begun(row))

    def encode_variants(self, examples: Sequence[Example]) -> list[Row]:
        """Encode examples about one picture, which is processed once; the same rows as from `encode` without responses.

        Only what stands after the picture is tokenised again, once the first two examples have shown that this gives the
        processor's own tokens.

        Raises:
            ValueError: more tokens than the model can take; the message names the example.
        """
        first, *others = examples
        row = self.encode(first, False)
        if not others:
            return [row]
        second = self.encode(others[0], False)
        if all(_same(self._variant(row, made.example), made) for made in (row, second)):
            quick = [self._variant(row, example) for example in others[1:]]
            return [row, second, *(made or self.encode(e, False) for made, e in zip(quick, others[1:], strict=True))]
        return [row, second, *(self.encode(example, False) for example in others[1:])]

    def lengthen(self, row: Row, answer: Sequence[int]) -> Row:
        """`row` with the tokens of an answer after it."""
        added = torch.tensor([list(answer)])
        extra = {"input_ids": added, "attention_mask": torch.ones_like(added)}
        inputs = dict(row.inputs)
        for name, tensor in row.inputs.items():
            if tensor.shape == row.inputs["input_ids"].shape:
                inputs[name] = torch.cat([tensor, extra.get(name, torch.zeros_like(added, dtype=tensor.dtype))], dim=1)
        return Row(inputs, torch.cat([row.segments, torch.full((added.shape[1],), int(Segment.ANSWER))]), row.example)

    def tokens(self, text: str) -> list[int]:
        """The tokens of `text` as the model would say it."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def answer(self, example: Example, said: Sequence[int]) -> str:
        """The answer to `example` as text: what it was made to begin with, if anything, and the tokens `said` after that."""
        opening = begun(example)
        head = self.tokens(opening) if opening else []
        before, after, whole = (self.tokenizer.decode(ids, skip_special_tokens=True) for ids in (head, said, [*head, *said]))
        rest = whole.removeprefix(before) if whole.startswith(before) else f" {after}"
        return f"{opening}{rest}".strip()

    def question_spans(self, example: Example) -> list[tuple[int, int]]:
        """Where in the prompt every token of the question and its template stands, in characters; the template's lie outside."""
        text = self.render(example)
        offsets = self._process(text, example).get("offset_mapping")
        lead = len(example.prompt) - len(example.prompt.lstrip())
        begin = self._question_end(offsets, text, example) - len(example.prompt.strip()) - lead
        assert offsets is not None
        return [(start - begin, end - begin) for start, end in offsets[0].tolist()]

    def _fitting(self, row: Row) -> Row:
        if self.longest is not None and len(row.segments) > self.longest:
            raise ValueError(
                f"example {row.example.id} is {len(row.segments)} tokens long, the model takes {self.longest}; it is not cut"
            )
        return row

    def _variant(self, row: Row, example: Example) -> Row | None:
        """`example` with the picture tokens of `row` and the text after them tokenised anew; None where that cannot be."""
        end = row.picture_end
        if end == 0 or self.image_token is None or not self.tokenizer.is_fast:
            return None
        mark = self.tokenizer.convert_ids_to_tokens(self.image_token)
        before, _, after = self.render(example).rpartition(mark)
        if self.render(row.example).rpartition(mark)[0] != before:
            return None
        tail = self.tokenizer(after, add_special_tokens=False, return_offsets_mapping=True, return_tensors="pt")
        segments = torch.cat([row.segments[:end], self._segments(tail["input_ids"][0], tail["offset_mapping"], after, example)])
        inputs = dict(row.inputs)
        for name, tensor in row.inputs.items():
            if tensor.shape == row.inputs["input_ids"].shape:
                rest = tail["input_ids"] if name == "input_ids" else tensor[:, -1:].expand(-1, tail["input_ids"].shape[1])
                inputs[name] = torch.cat([tensor[:, :end], rest], dim=1)
        return self._fitting(self._begun(Row(inputs, segments, example)))

    def _begun(self, row: Row) -> Row:
        """`row` with the tokens that its answer is made to begin with, if any (the attack `prefill`)."""
        text = begun(row.example)
        return self.lengthen(row, self.tokens(text)) if text else row

    def _process(self, text: str, example: Example) -> dict[str, Tensor]:
        bos = self.tokenizer.bos_token
        options: dict[str, Any] = {"return_tensors": "pt", "return_offsets_mapping": self.tokenizer.is_fast}
        if bos is not None and text.startswith(bos):
            options["add_special_tokens"] = False  # the template has written it already
        if example.image is not None:
            options["images"] = [open_picture(example)]
        return dict(self.processor(text=[text], **options))

    def _segments(self, ids: Tensor, offsets: Tensor | None, text: str, example: Example) -> Tensor:
        segments = torch.full(ids.shape, int(Segment.TEMPLATE))
        asked = example.prompt.strip()
        end = self._question_end(offsets, text, example)
        assert offsets is not None
        spans = offsets[0]
        inside = (spans[:, 1] > end - len(asked)) & (spans[:, 0] < end) & (spans[:, 1] > spans[:, 0])
        segments[inside] = int(Segment.QUESTION)
        if self.image_token is not None:
            segments[ids == self.image_token] = int(Segment.IMAGE)
        return segments

    def _question_end(self, offsets: Tensor | None, text: str, example: Example) -> int:
        asked = example.prompt.strip()
        at = text.rfind(asked)
        if offsets is None or at < 0:
            raise ValueError(f"example {example.id}: its question cannot be found in the templated prompt")
        return int(offsets[0].max()) - len(text.rstrip()[at + len(asked) :])  # from the end: the picture expands before

    def collate(self, rows: Sequence[Row], left: bool = False) -> Batch:
        """Rows as one batch: token-shaped tensors are padded, on the right or the left; all others are stacked."""
        longest = max(len(row.segments) for row in rows)
        fill = {"input_ids": self.tokenizer.pad_token_id}
        inputs: dict[str, Tensor] = {}
        for name, first in rows[0].inputs.items():
            tensors = [row.inputs[name] for row in rows]
            if first.shape == rows[0].inputs["input_ids"].shape:
                tensors = [_fit(t, longest, left, fill.get(name, 0)) for t in tensors]
            inputs[name] = torch.cat(tensors)
        segments = torch.cat([_fit(row.segments[None], longest, left, int(Segment.PADDING)) for row in rows])
        return Batch(inputs, segments, tuple(row.example for row in rows))


def _same(one: Row | None, other: Row) -> bool:
    """Whether two rows hold the same tokens; what goes with them, and the pictures, may have been made apart."""
    if one is None or one.inputs["input_ids"].shape != other.inputs["input_ids"].shape:
        return False
    shape = other.inputs["input_ids"].shape
    flat = [(one.inputs[k], t) for k, t in other.inputs.items() if t.shape == shape] + [(one.segments, other.segments)]
    return all(torch.equal(a, b) for a, b in flat)


def _fit(tensor: Tensor, length: int, left: bool, value: int) -> Tensor:
    missing = length - tensor.shape[1]
    return pad(tensor, (missing, 0) if left else (0, missing), value=value)
