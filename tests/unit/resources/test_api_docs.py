"""The API reference: current, complete, and true to the rules of the CRDs."""

import re
from pathlib import Path
from typing import Any

import pytest

from mlinfra.resources.api_docs import main, page, transitions
from mlinfra.resources.crd import custom_resource_definitions
from mlinfra.resources.training_job import ALWAYS_MUTABLE, MUTABLE_WHILE_SUSPENDED, TrainingJobSpec

REPOSITORY = Path(__file__).parents[3]
PAGE = page()
Rows = dict[str, list[str]]
"""Of one table: field to its cells."""


def anchor(heading: str) -> str:
    """As GitHub names a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower())


def tables() -> dict[str, Rows]:
    """Heading to its table."""
    found: dict[str, Rows] = {}
    for part in PAGE.split("\n### ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("| `")]
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        found[part.splitlines()[0]] = {row[0].strip("`"): row[1:] for row in cells}
    return found


TABLES = tables()
BY_ANCHOR = {anchor(heading): rows for heading, rows in TABLES.items()}


def missing(schema: dict[str, Any], rows: Rows, path: str) -> list[str]:
    """Fields below a schema that a reader who follows the links does not find."""
    found = []
    for name, child in schema["properties"].items():
        if name not in rows:
            found.append(f"{path}.{name}")
            continue
        while "items" in child or "additionalProperties" in child:
            child = child.get("items") or child["additionalProperties"]
        if "properties" in child:
            link = re.search(r"\(#(\w+)\)", rows[name][0])
            found += missing(child, BY_ANCHOR[link[1]], f"{path}.{name}") if link else [f"{path}.{name}"]
    return found


def test_the_page_is_current() -> None:
    assert main(["--check", str(REPOSITORY / "docs/api.md")]) == 0


def test_check_names_a_page_that_is_missing_or_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "api.md"
    assert main(["--check", str(file)]) == 1
    assert "is missing" in capsys.readouterr().err
    assert main([str(file)]) == 0
    assert main(["--check", str(file)]) == 0
    file.write_text("old")
    assert main(["--check", str(file)]) == 1
    assert "is stale: run `python -m mlinfra.resources.api_docs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "definition", custom_resource_definitions(), ids=lambda each: each["metadata"]["name"]
)
def test_every_field_is_found_by_the_links(definition: dict[str, Any]) -> None:
    kind = definition["spec"]["names"]["kind"]
    root = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for name in ("spec", "status"):
        rows = TABLES.get(f"{kind}.{name}", {})
        assert missing(root[name], rows, f"{kind}.{name}") == []


def test_headings_have_links_of_their_own_and_every_row_has_all_cells() -> None:
    assert len(BY_ANCHOR) == len(TABLES)
    assert {len(cells) for rows in TABLES.values() for cells in rows.values()} == {5}


def test_which_fields_may_change() -> None:
    rows = TABLES["TrainingJob.spec"]
    for field, info in TrainingJobSpec.model_fields.items():
        expected = (
            "yes" if field in ALWAYS_MUTABLE else "suspended" if field in MUTABLE_WHILE_SUSPENDED else "no"
        )
        assert rows[str(info.alias)][3] == expected, field
    assert TABLES["TrainingJob.spec.training"]["epochs"][3] == "no"
    assert TABLES["TrainingJob.status"]["phase"][3] == "operator"
    assert TABLES["ModelVersion.spec"]["stage"][3] == "yes"
    assert TABLES["ModelVersion.spec"]["version"][3] == "no"
    assert "Also `RetrainingPolicy.spec.trainingJobTemplate.spec`." in PAGE


def test_type_default_required_and_description_have_columns_of_their_own() -> None:
    epochs = TABLES["TrainingJob.spec.training"]["epochs"]
    assert epochs == ["integer, at least 1, at most 100000", "`50`", "", "no", "The most epochs to train."]
    assert TABLES["TrainingJob.spec"]["modelName"][2] == "yes"
    assert TABLES["TrainingJob.spec.training"]["optimizer"][0] == "`AdamW`, `Adam`, `SGD`"


def test_rules_are_told_in_words() -> None:
    assert "- startDate must not be after endDate\n" in PAGE
    assert "- metadata.name must have at most 52 characters" in PAGE
    assert "delete the TrainingJob and apply it again" not in PAGE


def test_a_rule_about_the_old_object_that_cannot_be_told_is_an_error() -> None:
    schema = {"x-kubernetes-validations": [{"rule": "self.a >= oldSelf.a"}]}
    with pytest.raises(ValueError, match="cannot tell which field may not change"):
        transitions(schema, "Kind.spec")
