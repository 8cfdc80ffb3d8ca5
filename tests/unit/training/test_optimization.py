"""The learning rate follows PyTorch's schedulers, warm-up included, and goes on from a saved state."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.resources.built_in_training import LearningRateScheduler, TrainingParameters
from mlinfra.training.optimization import Schedule, build_optimizer

BATCHES = 4


def rates(parameters: TrainingParameters, *, interrupted_after: int | None = None) -> list[float]:
    """The learning rate of each step."""
    network = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(network, parameters)
    schedule = Schedule(optimizer, parameters, batches=BATCHES)
    seen: list[float] = []
    for step in range(parameters.epochs * BATCHES):
        if step == interrupted_after:
            saved = optimizer.state_dict(), schedule.state()
            optimizer = build_optimizer(network, parameters)
            schedule = Schedule(optimizer, parameters, batches=BATCHES)
            optimizer.load_state_dict(saved[0])
            schedule.restore(saved[1])
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        network(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        schedule.after_batch()
        if step % BATCHES == BATCHES - 1:
            schedule.after_epoch()
    return seen


def with_scheduler(**fields: Any) -> TrainingParameters:
    scheduler = LearningRateScheduler(**fields) if fields else None
    return TrainingParameters(epochs=8, learning_rate=0.1, optimizer="SGD", scheduler=scheduler)


def by_epoch(seen: list[float]) -> list[float]:
    assert all(seen[step] == seen[step - step % BATCHES] for step in range(len(seen)))
    return seen[::BATCHES]


def test_the_rate_stays_without_a_scheduler() -> None:
    assert set(rates(with_scheduler())) == {0.1}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "StepLR", "step_size": 3, "gamma": 0.5}, [0.1] * 3 + [0.05] * 3 + [0.025] * 2),
        ({"name": "ExponentialLR"}, [0.1 * 0.95**number for number in range(8)]),
        (
            {"name": "CosineAnnealingLR"},
            [0.05 * (1 + math.cos(math.pi * number / 8)) for number in range(8)],
        ),
        (
            {"name": "CosineAnnealingLR", "warmup_epochs": 3},
            [0.025, 0.05, 0.075, *(0.05 * (1 + math.cos(math.pi * number / 5)) for number in range(5))],
        ),
        ({"name": "StepLR", "warmup_epochs": 1, "step_size": 4}, [0.05, *[0.1] * 4, *[0.01] * 3]),
    ],
)
def test_the_rate_moves_with_each_epoch(fields: dict[str, Any], expected: list[float]) -> None:
    assert by_epoch(rates(with_scheduler(**fields))) == pytest.approx(expected)


def test_one_cycle_rises_to_the_rate_and_falls_below_where_it_began_batch_by_batch() -> None:
    seen = rates(with_scheduler(name="OneCycleLR"))
    peak = seen.index(max(seen))
    assert seen[peak] == pytest.approx(0.1, rel=0.01)
    assert seen[:peak] == sorted(seen[:peak])
    assert seen[peak:] == sorted(seen[peak:], reverse=True)
    assert seen[-1] < seen[0] < seen[peak]


SCHEDULERS = st.one_of(
    st.builds(LearningRateScheduler, name=st.just("OneCycleLR")),
    st.builds(
        LearningRateScheduler,
        name=st.sampled_from(["CosineAnnealingLR", "ExponentialLR", "StepLR"]),
        warmup_epochs=st.integers(0, 4),
    ),
)


@given(SCHEDULERS, st.sampled_from(["AdamW", "Adam", "SGD"]), st.integers(0, 31))
@settings(max_examples=40)
def test_a_schedule_goes_on_from_its_state(
    scheduler: LearningRateScheduler, optimizer: Any, interrupted_after: int
) -> None:
    parameters = TrainingParameters(epochs=8, learning_rate=0.1, optimizer=optimizer, scheduler=scheduler)
    assert rates(parameters, interrupted_after=interrupted_after) == rates(parameters)
