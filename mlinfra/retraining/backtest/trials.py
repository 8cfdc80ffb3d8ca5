"""With what each policy of a backtest trains, and when its models take over. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlinfra.errors import InvalidInputError
from mlinfra.resources.promotion import Gate
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.retraining.backtest.policies import Policy
from mlinfra.retraining.backtest.replay import MIN_IMPROVEMENT
from mlinfra.training.config import TrainingConfig
from mlinfra.training.config_file import Change, effective_spec
from mlinfra.training.promotion import PromotionRule, challenger_margin


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried of a policy.

    Attributes:
        policy: when it trains.
        config: what each training learns, and how.
        promotion: what a new model must reach beside its gates.
        gates: bounds on its test metrics.
    """

    policy: Policy
    config: TrainingConfig
    promotion: PromotionRule
    gates: tuple[Gate, ...]


def trials_of(
    policies: Sequence[Policy],
    *,
    given: TrainingJobSpec | None = None,
    promotes: bool = False,
    changes: Sequence[Change] = (),
) -> list[Trial]:
    """Each policy with its own template, or with the one TrainingJob that is given for all.

    A policy without a template trains with the first one there is. Its models take over where they are
    better than the one in Production by `MIN_IMPROVEMENT`.

    Args:
        policies: what is compared; one has a template, unless a TrainingJob is given.
        given: trains for all of them, in place of their templates.
        promotes: whether the promotion of what is given counts.
        changes: what is laid over the templates.

    Raises:
        InvalidInputError: a template cannot be replayed, or they learn different things.
    """
    templates = [each.spec.training_job_template for each in policies]
    first = next((each for each in templates if each is not None), None)
    trials = []
    for policy, own in zip(policies, templates, strict=True):
        spec, counts = given, promotes
        if spec is None:
            template = own or first
            if template is None:
                raise ValueError("no policy has a template, and no TrainingJob is given")
            _refuse_own_code(policy, template.spec)
            spec, counts = effective_spec(None, changes, template.spec.to_wire()), own is not None
        trials.append(_trial(policy, spec, promotes=counts))
    _refuse_different_labels(trials)
    return trials


def _refuse_own_code(policy: Policy, spec: TrainingJobSpec) -> None:
    if spec.command is not None or spec.model is None:
        raise InvalidInputError(
            f"policy {policy.name}: its trainingJobTemplate runs its own code, which a backtest cannot; name "
            "a TrainingJob with model and data by --config."
        )


def _trial(policy: Policy, spec: TrainingJobSpec, *, promotes: bool) -> Trial:
    config = TrainingConfig.from_spec(spec)
    if not promotes:
        return Trial(policy, config, PromotionRule(0.0, MIN_IMPROVEMENT), ())
    margin = challenger_margin(spec.promotion.challenger, config.data.task)
    # As in a cluster: who need not be better than anybody is compared with nobody.
    rule = PromotionRule(0.0, -math.inf if margin is None else margin)
    return Trial(policy, config, rule, tuple(spec.promotion.gates))


def _refuse_different_labels(trials: Sequence[Trial]) -> None:
    learnt = {each.policy.name: each.config.data for each in trials}
    if len({(data.feature_group, data.label, data.task) for data in learnt.values()}) > 1:
        told = "; ".join(
            f"{name} learns {data.label} of {data.feature_group} ({data.task})"
            for name, data in learnt.items()
        )
        raise InvalidInputError(
            f"the policies' templates learn different things, which nobody can compare: {told}. Give --group "
            "and --label, or try them one by one."
        )
