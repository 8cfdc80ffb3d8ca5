"""What a pod finds on the local node, and how it ends."""

import base64
import json
import sys
from typing import Any

import pytest
from e2e.driver import Object, Platform, eventually

TELL = """
import json, os, pathlib
folders = {name: pathlib.Path(place) for name, place in {
    'scratch': '/mlinfra-test/scratch', 'host': '/mlinfra-test/host', 'settings': '/mlinfra-test/settings',
    'secret': '/mlinfra-test/secret', 'token': '/var/run/secrets/kubernetes.io/serviceaccount',
}.items()}
(folders['scratch'] / 'written').write_text('here')
print(json.dumps({
    'env': {name: os.environ.get(name) for name in
            ('PLAIN', 'EXPANDED', 'ESCAPED', 'NAME', 'SECRET', 'SETTING', 'PREFIX_colour')},
    'files': {name: sorted(path.name for path in folder.iterdir() if not path.name.startswith('.'))
              for name, folder in folders.items()},
    'setting': (folders['settings'] / 'colour').read_text(),
    'token': len((folders['token'] / 'token').read_text()) > 100,
    'argument': __import__('sys').argv[1],
}))
pathlib.Path('/mlinfra-test/scratch/end').write_text('all was found')
"""
WAIT_FOR_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('asked to end', flush=True), sys.exit(0)))
print('started', flush=True)
time.sleep(120)
"""


def job(name: str, container: Object, **pod: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "none"} | container],
                }
                | pod
            },
        },
    }


def pod_of(platform: Platform, name: str, phase: str) -> Object:
    def reached() -> Object | None:
        pods = platform.get("pods", "-l", f"batch.kubernetes.io/job-name={name}")["items"]
        return next((pod for pod in pods if pod.get("status", {}).get("phase") == phase), None)

    return eventually(reached, seconds=30, what=f"pod of {name} in phase {phase}")


@pytest.fixture(scope="module")
def settings(platform: Platform) -> None:
    platform.kubectl("create", "configmap", "settings", "--from-literal=colour=green")
    secret = {"colour": base64.b64encode(b"hidden").decode()}
    platform.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": secret})


def test_a_pod_finds_its_environment_and_volumes(
    platform: Platform, settings: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host = tmp_path_factory.mktemp("host")
    (host / "of the host").touch()
    volumes: dict[str, Object] = {
        "scratch": {"emptyDir": {}},
        "host": {"hostPath": {"path": str(host)}},
        "settings": {"configMap": {"name": "settings"}},
        "secret": {"secret": {"secretName": "keys"}},
    }
    platform.apply(
        job(
            "finds",
            {
                "command": [sys.executable, "-c", TELL],
                "args": ["$(EXPANDED)"],
                "env": [
                    {"name": "PLAIN", "value": "plain"},
                    {"name": "EXPANDED", "value": "$(PLAIN)-$(ABSENT)"},
                    {"name": "ESCAPED", "value": "$$(PLAIN)"},
                    {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "colour"}}},
                    {
                        "name": "SETTING",
                        "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}},
                    },
                ],
                "envFrom": [{"prefix": "PREFIX_", "configMapRef": {"name": "settings"}}],
                "terminationMessagePath": "/mlinfra-test/scratch/end",
                "volumeMounts": [{"name": name, "mountPath": f"/mlinfra-test/{name}"} for name in volumes],
            },
            volumes=[{"name": name} | source for name, source in volumes.items()],
        )
    )
    pod = pod_of(platform, "finds", "Succeeded")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (0, "all was found")
    seen = json.loads(platform.kubectl("logs", "job/finds"))
    assert seen["env"] == {
        "PLAIN": "plain",
        "EXPANDED": "plain-$(ABSENT)",
        "ESCAPED": "$(PLAIN)",
        "NAME": "default",
        "SECRET": "hidden",
        "SETTING": "green",
        "PREFIX_colour": "green",
    }
    assert seen["argument"] == "plain-$(ABSENT)"
    assert seen["files"] == {
        "scratch": ["written"],
        "host": ["of the host"],
        "settings": ["colour"],
        "secret": ["colour"],
        "token": ["ca.crt", "namespace", "token"],
    }
    assert (seen["setting"], seen["token"]) == ("green", True)


def test_a_pod_that_is_deleted_is_asked_to_end(platform: Platform) -> None:
    platform.apply(job("patient-pod", {"command": [sys.executable, "-c", WAIT_FOR_SIGTERM]}))
    pod = pod_of(platform, "patient-pod", "Running")
    name = pod["metadata"]["name"]
    eventually(lambda: "started" in platform.kubectl("logs", name) or None, seconds=10, what="line 'started'")
    platform.kubectl("delete", "job", "patient-pod", "--wait=false", "--cascade=orphan")
    platform.kubectl("delete", "pod", name, "--wait=false")
    eventually(
        lambda: True if platform.run("kubectl", "--", "get", "pod", name).returncode else None,
        seconds=10,
        what="end of the pod well within its grace period of 30 s",
    )


def test_exit_codes_and_requests_too_large_are_told(platform: Platform) -> None:
    platform.apply(job("fails", {"command": ["/bin/sh", "-c", "exit 3"]}))
    large = {"command": ["/bin/true"], "resources": {"requests": {"cpu": "4000"}}}
    platform.apply(job("too-large", large))
    failed = pod_of(platform, "fails", "Failed")
    assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3

    def unschedulable() -> Object | None:
        conditions = pod_of(platform, "too-large", "Pending")["status"].get("conditions", [])
        return next((item for item in conditions if item["type"] == "PodScheduled"), None)

    found = eventually(unschedulable, seconds=20, what="condition PodScheduled")
    assert (found["status"], found["reason"]) == ("False", "Unschedulable")
    assert "Insufficient cpu" in found["message"]


def test_a_pod_outlives_the_node_agent_and_is_adopted_by_the_next(platform: Platform) -> None:
    platform.apply(job("adopted", {"command": ["/bin/sh", "-c", "sleep 12; echo went on"]}))
    name = pod_of(platform, "adopted", "Running")["metadata"]["name"]
    platform.kill("node")
    platform.mlinfra("up")
    assert pod_of(platform, "adopted", "Succeeded")["metadata"]["name"] == name
    assert platform.kubectl("logs", name) == "went on\n"
