"""Who may take Production: a person's approval, a better challenger, a rollback by one command."""

import ssl
from typing import Any

import pytest
from integration.operator.manifests import condition, model_version, register, training_job
from mlflow import MlflowClient

from mlinfra.kube import ApiError, ClusterConfig, KubernetesClient
from mlinfra.kube.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, MODEL_VERSIONS, SERVICE_ACCOUNTS
from mlinfra.tracking.contract import CHAMPION_TAG

Object = dict[str, Any]


async def trained(
    world: Any, tracking: MlflowClient, name: str, model: str, accuracy: float, **promotion: Any
) -> None:
    await world.apply(training_job(name, model, promotion=promotion))
    await world.train(tracking, name, accuracy)
    await world.phase(name, "Succeeded")


def production_of(tracking: MlflowClient, model: str) -> str:
    return str(tracking.get_model_version_by_alias(model, "production").version)


async def test_a_version_waits_for_a_person_and_takes_production_when_approved(
    world, operator, tracking, unique, mlinfra
) -> None:
    await trained(world, tracking, unique, unique, 0.9, approval="Manual")
    waiting = await world.version_phase(f"{unique}-1", "PendingApproval")
    assert condition(waiting, "Approved")["status"] == "Unknown"
    assert condition(waiting, "Ready")["status"] == "True"
    assert tracking.get_model_version(unique, "1").current_stage == "None"
    approved = await mlinfra("approve", f"{unique}-1")
    assert approved.returncode == 0, approved.stderr
    await world.version_phase(f"{unique}-1", "Production")
    assert production_of(tracking, unique) == "1"


async def test_a_rejected_version_takes_no_stage(world, operator, tracking, unique, mlinfra) -> None:
    await trained(world, tracking, unique, unique, 0.9, approval="Manual")
    await world.version_phase(f"{unique}-1", "PendingApproval")
    assert (await mlinfra("reject", f"{unique}-1")).returncode == 0
    await world.version_phase(f"{unique}-1", "Rejected")
    assert tracking.get_model_version(unique, "1").current_stage == "None"


async def test_a_challenger_takes_production_only_where_it_is_better(
    world, operator, tracking, unique
) -> None:
    challenger = {"metric": "test_accuracy", "minImprovement": 0.01}
    await trained(world, tracking, unique, unique, 0.9, challenger=challenger)
    await world.version_phase(f"{unique}-1", "Production")
    for number, (accuracy, phase) in enumerate([(0.905, "GatesFailed"), (0.92, "Production")], start=2):
        name = f"{unique}-{number}th"
        await world.apply(training_job(name, unique, promotion={"challenger": challenger}))
        run_id = await world.run_id(name)
        tracking.log_metric(run_id, "champion_test_accuracy", 0.9)
        tracking.set_tag(run_id, CHAMPION_TAG, "1")
        await world.train(tracking, name, accuracy)
        judged = await world.version_phase(f"{unique}-{number}", phase)
        assert judged["status"]["gates"] == [
            {
                "metric": "test_accuracy",
                "value": f"{accuracy:g}",
                "championValue": "0.9",
                "outcome": "Passed" if phase == "Production" else "Failed",
            }
        ]
    await world.version_phase(f"{unique}-1", "Archived")
    assert production_of(tracking, unique) == "3"


async def test_a_gate_without_a_verdict_says_why(world, operator, tracking, unique) -> None:
    gates = [{"metric": name, "min": 0.8} for name in ("test_accuracy", "broken", "absent")]
    await world.apply(training_job(unique, promotion={"gates": gates}))
    run_id = await world.run_id(unique)
    tracking.log_metric(run_id, "broken", float("nan"))
    await world.train(tracking, unique, 0.9)
    version = await world.version_phase(f"{unique}-1", "Registered")
    assert condition(version, "GatesPassed")["reason"] == "GatesError"
    told = [
        (gate["metric"], gate.get("value"), gate["outcome"], gate.get("reason"))
        for gate in version["status"]["gates"]
    ]
    assert told == [
        ("test_accuracy", "0.9", "Passed", None),
        ("broken", "nan", "Error", "NotANumber"),
        ("absent", None, "Inconclusive", "NotLogged"),
    ]
    assert tracking.get_model_version(unique, "1").current_stage == "None"


async def test_a_run_that_mlflow_does_not_have_is_an_error_of_the_gate(
    world, operator, tracking, unique
) -> None:
    register(tracking, unique)
    gates = [{"metric": "test_accuracy", "min": 0.8}]
    version = model_version(unique, unique, stage="Production", gates=gates, source={"runID": "0" * 32})
    await world.apply(version)
    (gate,) = (await world.version_phase(unique, "Registered"))["status"]["gates"]
    assert (gate["outcome"], gate["reason"]) == ("Error", "RunDeleted")
    assert f"MLflow has no run {'0' * 32} any more" in gate["message"]


async def editor(kube: KubernetesClient, namespace: str, *verbs: str) -> KubernetesClient:
    """A client of a ServiceAccount that may do no more with ModelVersions than the verbs say."""
    name = f"{namespace}-{'-'.join(verbs)}"
    metadata = {"name": name}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    await kube.create(SERVICE_ACCOUNTS, account, namespace)
    rule = {"apiGroups": ["mlinfra.io"], "resources": ["modelversions"], "verbs": list(verbs)}
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [rule]}
    await kube.create(CLUSTER_ROLES, role)
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    await kube.create(CLUSTER_ROLE_BINDINGS, binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await kube.create(SERVICE_ACCOUNTS, request, namespace, name=name, subresource="token")
    trust = ssl.create_default_context(cadata=kube_authority(kube))
    return KubernetesClient(
        ClusterConfig(kube.config.server, trust, static_token=answer["status"]["token"], namespace=namespace)
    )


def kube_authority(kube: KubernetesClient) -> str:
    """The certificates that the administrator's client trusts."""
    certificates = kube.config.ssl_context.get_ca_certs(binary_form=True)
    return "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in certificates)


async def test_to_approve_takes_the_verb_approve(world, operator, tracking, unique, kube) -> None:
    await trained(world, tracking, unique, unique, 0.9, approval="Manual")
    await world.version_phase(f"{unique}-1", "PendingApproval")
    approved = {"spec": {"approval": "Approved"}}
    async with await editor(kube, world.namespace, "get", "patch") as client:
        labelled = {"metadata": {"labels": {"seen": "yes"}}}
        await client.merge_patch(MODEL_VERSIONS, f"{unique}-1", labelled, world.namespace)
        with pytest.raises(ApiError, match="you need the verb approve") as refused:
            await client.merge_patch(MODEL_VERSIONS, f"{unique}-1", approved, world.namespace)
        assert refused.value.status == 403
    async with await editor(kube, world.namespace, "get", "patch", "approve") as client:
        await client.merge_patch(MODEL_VERSIONS, f"{unique}-1", approved, world.namespace)
    await world.version_phase(f"{unique}-1", "Production")


async def test_a_person_promotes_by_command_and_gates_still_count(
    world, operator, tracking, unique, mlinfra
) -> None:
    gates = [{"metric": "test_accuracy", "min": 0.8}]
    await trained(world, tracking, unique, unique, 0.9, auto=False, gates=gates)
    await world.version_phase(f"{unique}-1", "Registered")
    staged = await mlinfra("promote", f"{unique}-1", "--stage", "staging")
    assert staged.returncode == 0, staged.stderr
    assert f"modelversion.mlinfra.io/{unique}-1 asks for Staging" in staged.stdout
    await world.version_phase(f"{unique}-1", "Staging")
    assert tracking.get_model_version_by_alias(unique, "staging").version == "1"
    assert (await mlinfra("promote", f"{unique}-1")).returncode == 0
    await world.version_phase(f"{unique}-1", "Production")
    assert production_of(tracking, unique) == "1"

    worse = f"{unique}-worse"
    await trained(world, tracking, worse, unique, 0.7, auto=False, gates=gates)
    await world.version_phase(f"{unique}-2", "Registered")
    assert (await mlinfra("promote", f"{unique}-2")).returncode == 0
    await world.version_phase(f"{unique}-2", "GatesFailed")
    assert production_of(tracking, unique) == "1"
    for arguments, told in (
        (("promote", "absent"), f"no ModelVersion absent in namespace {world.namespace}"),
        (("promote", f"{unique}-2", "--stage", "prod"), 'there is no stage "prod"'),
    ):
        refused = await mlinfra(*arguments)
        assert refused.returncode != 0
        assert told in refused.stderr


async def test_one_command_brings_the_version_before_back(world, operator, tracking, unique, mlinfra) -> None:
    await trained(world, tracking, unique, unique, 0.9)
    await world.version_phase(f"{unique}-1", "Production")
    await trained(world, tracking, f"{unique}-again", unique, 0.95)
    await world.version_phase(f"{unique}-2", "Production")
    await world.version_phase(f"{unique}-1", "Archived")
    back = await mlinfra("rollback", unique)
    assert back.returncode == 0, back.stderr
    assert f"{unique}-1 takes Production again, {unique}-2 is archived" in back.stdout
    first = await world.version_phase(f"{unique}-1", "Production")
    await world.version_phase(f"{unique}-2", "Archived")
    assert production_of(tracking, unique) == "1"
    stages = [change["stage"] for change in first["status"]["history"]]
    assert stages == ["Production", "Archived", "Production"]
    refused = await mlinfra("rollback", "absent")
    assert refused.returncode == 2
    assert "no ModelVersion of model 'absent'" in refused.stderr


async def test_a_version_comes_back_although_a_challenger_beat_it(
    world, operator, tracking, unique, mlinfra
) -> None:
    challenger = {"metric": "test_accuracy", "minImprovement": 0.01}
    await trained(world, tracking, unique, unique, 0.9, challenger=challenger)
    await world.version_phase(f"{unique}-1", "Production")
    for number, champion, accuracy in (("2", "1", 0.92), ("3", "2", 0.95)):
        name = f"{unique}-{number}th"
        await world.apply(training_job(name, unique, promotion={"challenger": challenger}))
        run_id = await world.run_id(name)
        tracking.log_metric(run_id, "champion_test_accuracy", tracking_accuracy(tracking, unique, champion))
        tracking.set_tag(run_id, CHAMPION_TAG, champion)
        await world.train(tracking, name, accuracy)
        await world.version_phase(f"{unique}-{number}", "Production")
    # 2 was compared with 1, and 1 with none: 3 is in Production by now.
    for command, number, left in ((("rollback", unique), "2", "3"), (("promote", f"{unique}-1"), "1", "2")):
        back = await mlinfra(*command)
        assert back.returncode == 0, back.stderr
        returned = await world.version_phase(f"{unique}-{number}", "Production")
        await world.version_phase(f"{unique}-{left}", "Archived")
        assert production_of(tracking, unique) == number
        assert condition(returned, "GatesPassed")["status"] == "True"


def tracking_accuracy(tracking: MlflowClient, model: str, version: str) -> float:
    run_id = tracking.get_model_version(model, version).run_id
    return float(tracking.get_run(run_id).data.metrics["test_accuracy"])


async def test_a_version_stays_in_production_while_the_one_before_is_kept_out(
    world, operator, tracking, unique, mlinfra, eventually
) -> None:
    await trained(world, tracking, unique, unique, 0.9)
    await world.version_phase(f"{unique}-1", "Production")
    await trained(world, tracking, f"{unique}-again", unique, 0.95)
    await world.version_phase(f"{unique}-2", "Production")
    await world.version_phase(f"{unique}-1", "Archived")
    stricter = {"spec": {"gates": [{"metric": "test_accuracy", "min": 0.93}]}}
    await world.kube.merge_patch(MODEL_VERSIONS, f"{unique}-1", stricter, world.namespace)
    assert (await mlinfra("rollback", unique)).returncode == 0
    await world.version_phase(f"{unique}-1", "GatesFailed")

    async def told() -> bool:
        stays = condition(await world.model_version(f"{unique}-2"), "Ready")
        return stays["reason"] == "AwaitsSuccessor" and "which is kept out" in stays["message"]

    await eventually(told, "the version in Production tells what it waits for")
    assert production_of(tracking, unique) == "2"
    # Whoever wants none there says so of both.
    archived = {"spec": {"stage": "Archived"}}
    await world.kube.merge_patch(MODEL_VERSIONS, f"{unique}-1", archived, world.namespace)
    await world.version_phase(f"{unique}-2", "Archived")
