"""Rows of a feature group against the expectations of their features: what is broken, and by which rows.

A column belongs to the feature of its name, in its newest version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features.column_checks import Breach, Rule, breaches
from mlinfra.features.expectations import Policy
from mlinfra.features.group import FeatureGroup
from mlinfra.features.metadata import FeatureMetadata

REASON_COLUMN = "quarantine_reason"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule of a feature that rows break; as a text it is one line for people.

    Attributes:
        feature, version: the definition that has the rule.
        rule: name of the rule in `Expectations`.
        told: what is wrong, such as ``above the maximum 100``.
        policy: what becomes of the rows.
        rows: how many rows break it.
        of: how many rows were checked.
        first_row: position of the first of them, from 0, in the order given.
        first_key: its entity and event time, as a text.
        first_value: its value, as a text.
    """

    feature: str
    version: str
    rule: Rule
    told: str
    policy: Policy
    rows: int
    of: int
    first_row: int
    first_key: str
    first_value: str

    def __str__(self) -> str:
        return (
            f"column {self.feature!r}: {self.rows} of {self.of} rows are {self.told}, the first is row "
            f"{self.first_row} ({self.first_key}): {self.first_value}"
        )


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an inspection of rows found.

    Attributes:
        violations: every rule that is broken, by column.
        good: the rows to write.
        set_aside: the rows for quarantine, with `REASON_COLUMN`; None where there are none.
    """

    violations: tuple[Violation, ...]
    good: pa.Table
    set_aside: pa.Table | None


def expected_columns(group: FeatureGroup) -> list[str]:
    """The columns of which something can be expected: the entity's key and the features."""
    return [group.entity_column, *group.features]


def inspect(
    table: pa.Table,
    group: FeatureGroup,
    definitions: Mapping[str, FeatureMetadata],
    *,
    policy: Policy | None = None,
) -> Inspection:
    """Check each column whose feature has expectations.

    Args:
        table: rows with the group's columns.
        group: which columns are entity, time and features.
        definitions: the newest definition of each feature, by name; columns without one are not checked.
        policy: for all violations, in place of what the definitions say.

    Raises:
        FeatureConflict: a rule does not fit its column's type.
    """
    violations: list[Violation] = []
    quarantined: list[tuple[str, pa.Array]] = []
    for name in expected_columns(group):
        definition = definitions.get(name)
        if definition is None or definition.expectations is None or name not in table.column_names:
            continue
        applied = policy or definition.expectations.on_violation
        for breach in breaches(table.column(name), definition.expectations, name=name):
            violations.append(_violation(table, group, definition, breach, applied))
            if applied == "quarantine":
                quarantined.append((f"{name} is {breach.told}", breach.broken))
    if not quarantined:
        return Inspection(tuple(violations), table, None)
    bad = quarantined[0][1]
    for _, broken in quarantined[1:]:
        bad = pc.or_(bad, broken)
    set_aside = table.filter(bad).append_column(REASON_COLUMN, _reasons(quarantined, bad))
    return Inspection(tuple(violations), table.filter(pc.invert(bad)), set_aside)


def _violation(
    table: pa.Table, group: FeatureGroup, definition: FeatureMetadata, breach: Breach, policy: Policy
) -> Violation:
    row = pc.index(breach.broken, pa.scalar(True)).as_py()
    entity, time = (_told(table.column(name)[row]) for name in (group.entity_column, group.time_column))
    return Violation(
        feature=definition.name,
        version=definition.version,
        rule=breach.rule,
        told=breach.told,
        policy=policy,
        rows=breach.broken.true_count,
        of=len(table),
        first_row=row,
        first_key=f"{group.entity_column} {entity}, {group.time_column} {time}",
        first_value=_told(table.column(definition.name)[row]),
    )


def _told(scalar: pa.Scalar) -> str:
    if not scalar.is_valid:
        return "null"
    if pa.types.is_timestamp(scalar.type):
        return str(scalar.cast(pa.timestamp(scalar.type.unit)).cast(pa.string()).as_py())
    return str(scalar.as_py())


def _reasons(quarantined: Sequence[tuple[str, pa.Array]], bad: pa.Array) -> pa.Array:
    texts = [
        pc.if_else(broken.filter(bad), pa.scalar(reason), pa.scalar(None, pa.string()))
        for reason, broken in quarantined
    ]
    return pc.binary_join_element_wise(*texts, "; ", null_handling="skip")
