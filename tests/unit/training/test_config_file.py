"""Files of configuration are read as kubectl reads them, checked as the API server does, and told by line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.resources.training_job import TrainingJob
from mlinfra.training.config import InvalidConfigError
from mlinfra.training.config_file import (
    Change,
    KubectlLoader,
    effective_spec,
    fields_at,
    manifest,
    merged,
    read_config_file,
    resource_name,
)

ROOT = Path(__file__).parents[3]
SPEC = """\
modelName: mine
model:
  architecture: hybrid_cnn_lstm
data:
  featureGroup: prices
  label: up
  startDate: 1999-01-01
training:
  learningRate: 1e-4
"""


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "train.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_dates_are_texts_and_exponents_numbers_as_for_kubectl(written: Any) -> None:
    spec = effective_spec(read_config_file(written(SPEC)), [])
    assert spec.data is not None
    assert spec.data.start_date == "1999-01-01"
    assert spec.training.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-2.", -2.0),
        ("1e5", 1e5),
        ("7", 7),
        ("1e", "1e"),
        (".", "."),
    ],
)
def test_numbers(text: str, value: object) -> None:
    loaded = yaml.load(text, Loader=KubectlLoader)
    assert loaded == value
    assert type(loaded) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_survives_yaml(number: float) -> None:
    assert yaml.load(yaml.safe_dump(number), Loader=KubectlLoader) == number


def test_a_training_job_is_read_with_its_name() -> None:
    file = read_config_file(ROOT / "examples" / "trainingjob.yaml")
    assert file.metadata["name"] == "sp500-volatility"
    spec = effective_spec(file, [])
    content = manifest(spec, file.metadata)
    assert TrainingJob.model_validate(content).spec == spec
    assert content["metadata"] == {"name": "sp500-volatility"}


def test_what_is_printed_means_the_same_when_read_again(written: Any) -> None:
    spec = effective_spec(read_config_file(written(SPEC)), [Change(("training", "epochs"), 3, "--epochs")])
    file = read_config_file(written(yaml.safe_dump(manifest(spec))))
    assert effective_spec(file, []) == spec
    assert file.metadata == {"name": "mine"}


def test_of_several_documents_the_training_job_counts(written: Any) -> None:
    text = "kind: ConfigMap\n---\n" + (ROOT / "examples" / "trainingjob.yaml").read_text() + "---\n"
    file = read_config_file(written(text))
    assert file.spec["modelName"] == "sp500-volatility"
    assert file.lines[("modelName",)] == text.splitlines().index("  modelName: sp500-volatility") + 1


def test_changes_win_over_the_file_and_leave_the_rest(written: Any) -> None:
    file = read_config_file(written(SPEC + "  earlyStopping: {patience: 3, minDelta: 0.1}\n"))
    changed = effective_spec(file, [Change(("training", "earlyStopping", "patience"), 7, "--patience")])
    stopping = changed.training.early_stopping
    assert stopping is not None
    assert (stopping.patience, stopping.min_delta, changed.training.learning_rate) == (7, 0.1, 1e-4)
    off = effective_spec(file, [Change(("training", "earlyStopping"), None, "--patience")])
    assert off.training.early_stopping is None


WRONG = {
    "misspelt": (SPEC + "  epochz: 3\n", 'line 10: unknown key "training.epochz"; did you mean epochs?'),
    "pythonic": (SPEC + "  batch_size: 3\n", 'unknown key "training.batch_size"; did you mean batchSize?'),
    "misplaced": (SPEC + "epochs: 3\n", 'line 10: unknown key "epochs"; did you mean training.epochs?'),
    "bounds": (
        SPEC + "  epochs: 0\n",
        "line 10: training.epochs: Input should be greater than or equal to 1",
    ),
    "type": (SPEC + '  epochs: "3"\n', "line 10: training.epochs: Input should be a valid integer, got '3'"),
    "together": (
        SPEC.replace("1999-01-01", "1999-01-01\n  endDate: 1998-01-01"),
        "line 4: data: startDate must not be after endDate",
    ),
    "missing": (SPEC.replace("  label: up\n", ""), "line 4: data.label is missing"),
    "twice": (SPEC + "modelName: other\n", 'line 10: the key "modelName" is there twice'),
    "no YAML": ("a: [1\n", "line 2: expected ',' or ']'"),
    "empty": ("# nothing\n", "holds no configuration"),
    "list": ("- 1\n", "holds no configuration"),
    "another kind": (
        "apiVersion: mlinfra.io/v1alpha1\nkind: RetrainingPolicy\n",
        "line 2: kind must be TrainingJob, got 'RetrainingPolicy'",
    ),
    "beside the spec": (
        "apiVersion: mlinfra.io/v1alpha1\nkind: TrainingJob\nspecs: {}\n",
        'line 3: unknown key "specs"; did you mean spec?',
    ),
    "no spec": ("apiVersion: mlinfra.io/v1alpha1\nkind: TrainingJob\n", "has no spec"),
    "two jobs": ("kind: TrainingJob\n---\nkind: TrainingJob\n", "2 documents, 2 of them a TrainingJob"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_file_and_line(written: Any, case: str) -> None:
    text, message = WRONG[case]
    path = written(text)
    with pytest.raises(InvalidConfigError) as caught:
        effective_spec(read_config_file(path), [])
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_wrong_flag_is_told_by_its_name(written: Any) -> None:
    with pytest.raises(InvalidConfigError, match=r"^--epochs: training\.epochs: .* got 0\.$"):
        effective_spec(read_config_file(written(SPEC)), [Change(("training", "epochs"), 0, "--epochs")])


def test_every_mistake_has_a_line(written: Any) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        effective_spec(read_config_file(written(SPEC + "  epochz: 3\n  batchSize: 0\n")), [])
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidConfigError, match="cannot be read"):
        read_config_file(tmp_path / name)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfigError, match="not YAML in UTF-8"):
        read_config_file(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("hybrid_cnn_lstm", "hybrid-cnn-lstm"),
        ("Größe", "gr-e"),
        ("...", "training"),
        ("x" * 60, "x" * 52),
    ],
)
def test_a_model_names_its_training_job(model: str, name: str) -> None:
    assert resource_name(model) == name
    TrainingJob.model_validate({"metadata": {"name": name}, "spec": {"modelName": "m", "command": ["x"]}})


trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abc"), trees), st.dictionaries(st.sampled_from("abc"), trees))
def test_merging_again_changes_nothing(below: dict[str, Any], above: dict[str, Any]) -> None:
    once = merged(below, above)
    assert merged(once, above) == once
    assert merged({}, above) == above
    assert merged(below, {}) == below


def test_fields_at_a_path() -> None:
    from mlinfra.resources.training_job import TrainingJobSpec

    assert "minDelta" in fields_at(TrainingJobSpec, ("training", "earlyStopping"))
    assert "max" in fields_at(TrainingJobSpec, ("promotion", "gates", 0))
    assert fields_at(TrainingJobSpec, ("training", "epochs")) == {}
    assert fields_at(TrainingJobSpec, ("nothing", "here")) == {}
