"""The policies that a backtest takes: built in, a RetrainingPolicy's manifest, or its spec."""

from pathlib import Path

import pytest

from mlinfra.resources.monitoring import MonitoringWindow
from mlinfra.retraining.assessment import trigger_rules
from mlinfra.retraining.backtest.policies import BUILT_IN, built_in, load_policy
from mlinfra.training.config import InvalidConfigError

MANIFEST = """
apiVersion: mlinfra.io/v1alpha1
kind: RetrainingPolicy
metadata: {name: nightly}
spec:
  modelName: churn
  schedule: "0 3 * * *"
  timeZone: Europe/Berlin
  cooldownSeconds: 3600
  maxRunsPerDay: 2
  drift: {method: JensenShannon, onBreach: Retrain}
  performance: {}
  rollback: {observationSeconds: 7200}
"""


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_policy_has_the_triggers_of_its_name(name: str) -> None:
    policy = built_in(name, window=MonitoringWindow(rows=60))
    rules = trigger_rules(policy.spec.drift, policy.spec.performance)
    assert (policy.schedule is not None) == (name == "scheduled")
    assert rules.drift_suffices == (name == "drift")
    assert rules.performance_asks == (name in ("performance", "both"))
    for check in (policy.spec.drift, policy.spec.performance):
        if check is not None:
            assert check.window == MonitoringWindow(rows=60)
            assert check.min_samples == 30


def test_a_manifest_is_read_as_the_operator_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(MANIFEST)
    policy = load_policy(str(file))
    assert policy.name == "nightly"
    assert policy.schedule is not None
    assert (policy.limits.cooldown.total_seconds(), policy.limits.max_runs_per_day) == (3600, 2)
    assert policy.observation is not None
    assert policy.observation.length.total_seconds() == 7200
    assert policy.spec.drift is not None
    assert policy.spec.drift.method == "JensenShannon"


def test_a_spec_alone_is_named_after_its_file(tmp_path: Path) -> None:
    file = tmp_path / "patient.yaml"
    file.write_text("performance: {maxLoss: 0.1}")
    assert load_policy(str(file)).name == "patient"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("drift: {method: psi}", "drift.method"),
        ("drifts: {}", 'line 1: unknown key "drifts"'),
        ("cooldownSeconds: -1", "line 1: cooldownSeconds"),
        ("rollback: {}", "rollback compares performance"),
        ("timeZone: Europe/Berlin", "belong to a schedule"),
        ("kind: TrainingJob\napiVersion: mlinfra.io/v1alpha1\nspec: {}", "kind must be RetrainingPolicy"),
        ("drift: {}\n---\nperformance: {}", "holds 2 documents, 0 of them a RetrainingPolicy"),
        (MANIFEST.replace("{name: nightly}", "nightly"), "line 4: metadata must be a mapping"),
        ("- 1", "holds no configuration: write a RetrainingPolicy"),
        ("a: [", "line 1: expected the node content"),
        ("performance: {window: {rows: 99}}", "minSamples must not be more than window.rows"),
    ],
)
def test_what_is_no_policy_is_named(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(content)
    with pytest.raises(InvalidConfigError, match=message):
        load_policy(str(file))


def test_a_policy_that_is_not_there_lists_the_built_in_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="never, scheduled, drift, performance, both"):
        load_policy(str(tmp_path / "none.yaml"))
