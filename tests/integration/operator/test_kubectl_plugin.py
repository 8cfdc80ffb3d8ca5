"""``kubectl mlinfra``: the real kubectl finds the installed console script, and passes everything on."""

import asyncio
import os
import subprocess
import sysconfig
from typing import Any

import pytest
from integration.operator.manifests import retraining_policy
from integration.operator.policy_status import only_training

Object = dict[str, Any]


@pytest.fixture
def kubectl(cluster, namespace):
    """Runs kubectl as a user whose PATH has our console scripts, and nothing else of ours."""
    scripts = sysconfig.get_path("scripts")
    environment = {
        "PATH": f"{scripts}:/usr/bin:/bin",
        "HOME": os.environ["HOME"],
        "KUBECONFIG": str(cluster.kubeconfig),
        "COLUMNS": "200",
    }

    async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run,
            [cluster.program("kubectl"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


async def test_kubectl_runs_it_as_its_plugin(world, operator, kubectl, unique, eventually) -> None:
    listed = await kubectl("plugin", "list")
    assert "kubectl-mlinfra" in listed.stdout, listed.stderr
    await world.apply(retraining_policy(unique))
    here = ("-n", world.namespace)

    async def says(*arguments: str) -> str:
        done = await kubectl("mlinfra", *arguments, *here)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"retrainingpolicy.mlinfra.io/{unique} asked for a training" in await says("retrain", unique)
    training = (await only_training(world, unique, eventually))["metadata"]["name"]
    await world.run_pod(training)
    await world.phase(training, "Running")
    tree = await says("tree", f"retrainingpolicy/{unique}")
    lines = [" ".join(line.split()) for line in tree.splitlines()]
    pod = (await world.pod(training))["metadata"]["name"]
    for named in (unique, training, pod):
        assert any(named in line for line in lines), tree
    assert f"trainingjob.mlinfra.io/{training} suspended" in await says("suspend", training)
    await world.phase(training, "Suspended")
    assert f"trainingjob.mlinfra.io/{training} resumed" in await says("resume", f"trainingjob/{training}")
    await world.phase(training, "Pending")

    for command in ("suspend", "resume"):
        # No TrainingJob has this name.
        assert f"retrainingpolicy.mlinfra.io/{unique} {command.removesuffix('e')}" in await says(
            command, unique
        )
    absent = await kubectl("mlinfra", "suspend", "absent", *here)
    assert (
        f"there is no TrainingJob or RetrainingPolicy absent in namespace {world.namespace}" in absent.stderr
    )

    refused = await kubectl("mlinfra", "retrain", "absent", *here)
    assert refused.returncode == 1
    assert f"there is no RetrainingPolicy absent in namespace {world.namespace}" in refused.stderr
    assert refused.stdout == ""
