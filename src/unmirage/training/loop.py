"""The only training loop: accumulation, clipping, schedule, checkpoints, resume, on accelerate.

A step asks every `Part` for its loss on that step's batch and runs backward group by group, so that only the graph of one
stream is alive at a time. Batches are functions of the step (streams.py), so a checkpoint needs no cursor: parameters,
moments, the random state and the step number are the whole state, and a resumed run walks the same path as an
undisturbed one. With several processes each computes its share of every batch, and gradients are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from unmirage.recipe import Train
from unmirage.training import checkpoints


class NoWorkError(RuntimeError):
    """A training step changed nothing, or would have spoilt the weights."""


@dataclass(frozen=True)
class Part:
    """One weighted summand of the loss. `loss(k)` is its value, a scalar tensor, on the batch of micro-step `k`.

    Parts of one `group` share a graph: they go backward together.
    """

    name: str
    weight: float
    loss: Callable[[int], Tensor]
    group: str = ""


@dataclass(frozen=True)
class Progress:
    """What happened in one finished step (1-based): each part's unweighted loss, the gradient norm, the rate."""

    step: int
    steps: int
    losses: dict[str, float]
    gradient_norm: float
    learning_rate: float


def rate(settings: Train, step: int) -> float:
    """Learning rate of 0-based `step`: linear warm-up, then constant, linear or cosine decay to zero."""
    warm = math.ceil(settings.warmup * settings.steps)
    if step < warm:
        return settings.lr * (step + 1) / warm
    gone = (step - warm) / max(1, settings.steps - warm)
    fall = {"constant": 1.0, "linear": 1.0 - gone, "cosine": 0.5 * (1.0 + math.cos(math.pi * gone))}
    return settings.lr * fall[settings.schedule]


def fit(
    model: nn.Module,
    parts: Sequence[Part],
    settings: Train,
    folder: Path,
    on_step: Callable[[Progress], None],
    before_step: Callable[[int], None] = lambda step: None,
) -> None:
    """Train the parameters of `model` that require gradients, in place.

    Args:
        model: what is trained; put in training mode and left in evaluation mode.
        parts: the summands of the loss; their losses must be functions of `model`'s parameters.
        settings: steps, rate, schedule, clipping, accumulation and checkpoint interval.
        folder: where checkpoints live; if one is there, training goes on from it.
        on_step: called after every finished step.
        before_step: called with the number of steps done so far, before the first step and after each, in
            evaluation mode; for probes. After a resume it is called again for the step resumed at.

    Raises:
        NoWorkError: no parameter is trainable, a loss is not finite, or a step has no gradient at all.
    """
    accelerator = _accelerator(model, settings, folder)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise NoWorkError("nothing to train: no parameter of the model requires gradients; see [model] train in the recipe")
    optimizer = torch.optim.AdamW(list(trained.values()), lr=settings.lr, weight_decay=settings.weight_decay)
    start = checkpoints.load(folder, trained, optimizer)
    accelerator.wait_for_everyone()
    groups = [[part for part in parts if part.group == group] for group in dict.fromkeys(part.group for part in parts)]
    for step in range(start, settings.steps):
        model.eval()
        before_step(step)
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = rate(settings, step)
        losses = {part.name: 0.0 for part in parts}
        for micro in range(settings.accumulate):
            for some in groups:
                with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                    found = [part.loss(step * settings.accumulate + micro) for part in some]
                for part, loss in zip(some, found, strict=True):
                    losses[part.name] += _finite(loss, part.name, step) / settings.accumulate
                total = torch.stack([loss * part.weight for part, loss in zip(some, found, strict=True)]).sum()
                accelerator.backward(total / settings.accumulate)
        _average(accelerator, list(trained.values()))
        norm = float(nn.utils.clip_grad_norm_(list(trained.values()), settings.clip or math.inf))
        if norm == 0.0 or not math.isfinite(norm):
            raise NoWorkError(f"training step {step + 1} did no work: its gradient norm is {norm}")
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        if done == settings.steps or done % settings.checkpoint_every == 0:
            checkpoints.save(folder, done, trained, optimizer)
        losses = {name: _mean(accelerator, value) for name, value in losses.items()}
        told = Progress(done, settings.steps, losses, norm, rate(settings, step))
        accelerator.log({f"loss/{name}": value for name, value in losses.items()} | {"gradient norm": norm}, step=done)
        on_step(told)
    accelerator.end_training()
    model.eval()
    before_step(settings.steps)


def _accelerator(model: nn.Module, settings: Train, folder: Path) -> Accelerator:
    on_cpu = next(model.parameters()).device.type == "cpu"
    logs: Any = settings.trackers or None
    made = Accelerator(cpu=on_cpu, device_placement=False, log_with=logs, project_dir=folder.parent)
    if settings.trackers:
        made.init_trackers("unmirage", config=settings.model_dump(include={"steps", "lr", "batch_size", "schedule"}))
    return made


def _average(accelerator: Accelerator, trained: Sequence[nn.Parameter]) -> None:
    """Make the gradients of all processes their mean, in one message. A parameter without a gradient has none anywhere."""
    if accelerator.num_processes == 1:
        return
    moved = [parameter.grad for parameter in trained if parameter.grad is not None]
    flat = accelerator.reduce(torch.cat([gradient.flatten() for gradient in moved]), "mean")
    for gradient, part in zip(moved, flat.split([gradient.numel() for gradient in moved]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _mean(accelerator: Accelerator, value: float) -> float:
    if accelerator.num_processes == 1:
        return value
    return float(accelerator.reduce(torch.tensor(value, device=accelerator.device), "mean"))


def _finite(loss: Tensor, name: str, step: int) -> float:
    number = float(loss.detach())
    if not math.isfinite(number):
        raise NoWorkError(f"training step {step + 1}: the loss of {name} is {number}; lower the rate or check the data")
    return number
