"""Which features a training asks for: ``"group:feature"``, or ``"group"`` for all of its features."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlinfra.errors import suggestion
from mlinfra.features.errors import FeatureConflict, InvalidFeatures, UnknownFeature
from mlinfra.features.group import FeatureGroup

SEPARATOR = ":"
FULL_NAME_SEPARATOR = "__"


@dataclass(frozen=True, slots=True)
class WantedColumn:
    """A column of a group, and the name it gets in the result."""

    group: str
    column: str
    name: str


def group_names(features: Sequence[str]) -> list[str]:
    """The groups that are named, each once, in order.

    Raises:
        InvalidFeatures: none is named, or a name is no text.
    """
    if isinstance(features, str) or not features:
        raise InvalidFeatures(
            'features is a list with one name at least, such as ["orderbook_features:rsi"] or '
            f'["orderbook_features"] for the whole group, not {features!r}'
        )
    for name in features:
        if not isinstance(name, str):
            raise InvalidFeatures(f"features are named by text, as 'group:feature', not by {name!r}")
    return list(dict.fromkeys(name.partition(SEPARATOR)[0] for name in features))


def wanted_columns(
    features: Sequence[str], groups: Mapping[str, FeatureGroup], *, full_names: bool
) -> list[WantedColumn]:
    """Every column that is asked for, once, in order.

    Args:
        features: as ``group:feature`` or ``group``.
        groups: each of `group_names`.
        full_names: name them ``group__feature`` instead of ``feature``.

    Raises:
        UnknownFeature: a group has no such column; the message names those it has.
    """
    named: dict[tuple[str, str], None] = {}
    for reference in features:
        group_name, separator, column = reference.partition(SEPARATOR)
        group = groups[group_name]
        if separator and column not in group.schema.names:
            known = suggestion(column, group.features)
            raise UnknownFeature(f"feature group {group_name!r} has no feature {column!r}: {known}")
        named |= dict.fromkeys((group_name, name) for name in ([column] if separator else group.features))
    return [
        WantedColumn(group, column, f"{group}{FULL_NAME_SEPARATOR}{column}" if full_names else column)
        for group, column in named
    ]


def check_names(wanted: Iterable[WantedColumn], taken: Iterable[str]) -> None:
    """Refuse two columns of one name in the result.

    Args:
        wanted: columns that are added.
        taken: columns that are there already.

    Raises:
        FeatureConflict: the message names both.
    """
    owners = dict.fromkeys(taken, "entity_rows")
    for each in wanted:
        if each.name in owners:
            raise FeatureConflict(
                f"column {each.name!r} would be there twice, from {owners[each.name]} and from feature group "
                f"{each.group!r}; give full_feature_names=True to name every feature "
                f"group{FULL_NAME_SEPARATOR}feature, or rename the column of entity_rows"
            )
        owners[each.name] = f"feature group {each.group!r}"
