"""The pod of a training on the real API server: where pods must be restricted, tried again, and watched."""

from typing import Any

from integration.operator.manifests import condition, training_job

from mlinfra.kube.resource import JOBS, NAMESPACES, SERVICE_ACCOUNTS

Object = dict[str, Any]


async def test_a_namespace_of_restricted_pod_security_admits_the_pod(
    world, operator, unique, eventually
) -> None:
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await world.kube.merge_patch(NAMESPACES, world.namespace, enforced)
    await world.apply(training_job(unique))
    pod = await world.pod(unique)
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True

    # The same namespace refuses a pod that asks for more, so the label is in force.
    privileged = f"{unique}-root"
    await world.apply(training_job(privileged, podSecurityContext={"runAsNonRoot": False}))

    async def refused() -> bool:
        job = await world.kube.find(JOBS, privileged, world.namespace)
        events = await world.events(privileged) if job else []
        return any('violates PodSecurity "restricted' in event["message"] for event in events)

    await eventually(refused, "the pod that may be root is refused")


async def test_the_stored_pod_has_what_the_spec_says_of_who_pulls_it_and_where_it_runs(
    world, operator, unique
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trainer"}}
    await world.kube.create(SERVICE_ACCOUNTS, account, world.namespace)
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    spec = {
        "serviceAccountName": "trainer",
        "imagePullSecrets": [{"name": "registry"}],
        "affinity": affinity,
    }
    await world.apply(training_job(unique, **spec))
    pod = (await world.pod(unique))["spec"]
    assert {field: pod[field] for field in spec} == spec
    assert pod["automountServiceAccountToken"] is False


async def test_a_training_that_fails_once_is_tried_again(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique, backoffLimit=1))
    await world.run_pod(unique)
    assert (await world.phase(unique, "Running"))["status"]["attempts"] == 1
    await world.end_pod(unique, exit_code=1, message="out of memory")

    # The Job waits about 10 s before its second pod.
    await world.train(tracking, unique, 0.9)
    succeeded = await world.phase(unique, "Succeeded")
    assert succeeded["status"]["attempts"] == 2
    assert condition(succeeded, "Ready")["status"] == "True"
    assert (await world.job_complete(unique))["status"]["failed"] == 1


async def test_progress_of_an_own_script_is_what_it_logs_by_plain_mlflow_calls(
    world, operator, tracking, unique, eventually
) -> None:
    await world.apply(training_job(unique))
    await world.run_pod(unique)
    run_id = await world.run_id(unique)
    tracking.log_param(run_id, "epochs", 10)
    tracking.log_metric(run_id, "val_accuracy", 0.75, timestamp=60_000, step=3)
    tracking.log_metric(run_id, "epoch", 3, timestamp=60_000, step=3)

    async def told(percent: int) -> Object | None:
        found: Object = (await world.training_job(unique)).get("status", {}).get("trainerStatus") or {}
        return found if found.get("progressPercentage") == percent else None

    status = await eventually(lambda: told(30), "progress", seconds=60)
    assert (status["currentEpoch"], status["totalEpochs"]) == (3, 10)
    assert status["lastUpdatedTime"] == "1970-01-01T00:01:00Z"
    assert {"name": "val_accuracy", "value": "0.75"} in status["metrics"]
    tracking.log_metric(run_id, "epoch", 4, timestamp=90_000, step=4)
    status = await eventually(lambda: told(40), "more progress", seconds=60)
    assert status["estimatedRemainingSeconds"] == 6 * 30
