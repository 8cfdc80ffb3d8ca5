"""The rules for one namespace are those for all of them."""

from typing import Any

from mlinfra.local.operator_access import NAMESPACE_RULES, RULES, operator_manifests


def rules(file: str) -> list[dict[str, Any]]:
    return [rule for manifest in operator_manifests(file) for rule in manifest.get("rules", ())]


def test_a_role_grants_what_the_cluster_role_grants_within_a_namespace() -> None:
    in_a_namespace = [rule for rule in rules(RULES) if rule["resources"] != ["namespaces"]]
    assert rules(NAMESPACE_RULES) == in_a_namespace


def test_no_rule_reads_secrets_or_grants_all() -> None:
    for rule in rules(RULES):
        assert "secrets" not in rule["resources"]
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_one_namespace_has_nothing_of_the_cluster() -> None:
    manifests = operator_manifests(NAMESPACE_RULES)
    assert [each["kind"] for each in manifests] == ["ServiceAccount", "Role", "RoleBinding"]
    assert {each["metadata"]["namespace"] for each in manifests} == {"team-a"}
