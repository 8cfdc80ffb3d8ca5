"""The Deployment of a served version, its autoscaler, and the model's Service. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlinfra.resources import ModelVersion
from mlinfra.resources.names import (
    BESIDE_LABEL_PREFIX,
    FEATURE_STORE_URI_ENV,
    MANAGED_LABEL,
    MODEL_LABEL,
    MODEL_VERSION_LABEL,
    MONITORING_URI_ENV,
    PREDICTION_LOG_URI_ENV,
    SCRATCH_PATH,
    SCRATCH_VOLUME,
    SERVED_DIGEST_ENV,
    SERVED_MODEL_ENV,
    TERMINATION_LOG_ENV,
)
from mlinfra.resources.serving import GRPC_PORT_ENV, ServedStage, Serving
from mlinfra_operator.naming import service_name, slug
from mlinfra_operator.pod_security import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    TERMINATION_LOG,
    WRITABLE_FOLDERS,
)
from mlinfra_operator.serving.observed import (
    AUTOSCALED_ANNOTATION,
    CANARY_ANNOTATION,
    CANARY_SINCE_ANNOTATION,
    GRPC_PORT_NAME,
    PREVIOUS_ANNOTATION,
    SPEC_HASH_ANNOTATION,
    SWITCHED_ANNOTATION,
    Lead,
)

Object = dict[str, Any]

CONTAINER = "server"
PORT = 8080
"""Of the pods and of the Service."""
PORT_NAME = "http"
GRPC_PORT = 8081
"""Of the pods and of the Service, where gRPC is asked for."""
SERVER_COMMAND = ["python", "-m", "mlinfra.serving"]
LEAVE_SECONDS = 5
"""A pod that is asked to end still answers for so long: others learn meanwhile that it goes."""
DRAIN_SECONDS = 5
"""For so long after that its answers end their connections: clients that keep one turn to other pods."""
GRACE_SECONDS = 60
START_SECONDS = 600
HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class ServerDefaults:
    """What the operator is configured to give every model server."""

    image: str
    tracking_uri: str
    feature_store_uri: str | None = None
    monitoring_uri: str | None = None
    prediction_log_uri: str | None = None


def build_deployment(
    version: ModelVersion,
    serving: Serving,
    *,
    digest: str | None,
    defaults: ServerDefaults,
    beside: Iterable[str] = (),
    canary_pods: int | None = None,
) -> Object:
    """The Deployment of a version, to be applied; its annotation tells what it was made from.

    Args:
        version: the version.
        serving: how it is served.
        digest: SHA-256 that its file must have.
        defaults: what every model server is given.
        beside: numbers of versions beside which its pods may answer.
        canary_pods: how many pods it has while it is a canary; None where it is none.
    """
    metadata = version.metadata
    labels = labels_of(version)
    companions = {f"{BESIDE_LABEL_PREFIX}{number}": "true" for number in {*beside, version.spec.version}}
    spec: Object = {
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": START_SECONDS,
        "template": {
            "metadata": {"labels": {MANAGED_LABEL: "true", **labels, **companions}},
            "spec": _pod_spec(version, serving, digest=digest, defaults=defaults),
        },
    }
    annotations = {}
    scaling = serving.autoscaling if canary_pods is None else None
    if scaling is None:
        spec["replicas"] = canary_pods or serving.replicas
    else:
        annotations[AUTOSCALED_ANNOTATION] = "true"
    wanted = json.dumps([spec, scaling.to_wire() if scaling is not None else None], sort_keys=True)
    annotations[SPEC_HASH_ANNOTATION] = hashlib.sha256(wanted.encode()).hexdigest()[:HASH_LENGTH]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": {MANAGED_LABEL: "true", **labels},
            "annotations": annotations,
            "ownerReferences": [_owner(version.api_version, metadata.name, metadata.uid, controller=True)],
        },
        "spec": spec,
    }


def build_autoscaler(version: ModelVersion, serving: Serving, *, deployment_uid: str) -> Object | None:
    """The HorizontalPodAutoscaler, which goes with the Deployment; None where none is asked for."""
    scaling, metadata = serving.autoscaling, version.metadata
    if scaling is None:
        return None
    target = {"type": "Utilization", "averageUtilization": scaling.target_cpu_utilization_percentage}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": {MANAGED_LABEL: "true", **labels_of(version)},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": metadata.name,
                    "uid": deployment_uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata.name},
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def build_service(
    version: ModelVersion, stage: ServedStage, lead: Lead, *, owners: Mapping[str, str]
) -> Object:
    """The model's Service in a stage.

    Args:
        version: one of the model's versions.
        stage: a stage.
        lead: where the Service leads.
        owners: UIDs by names of the ModelVersions with which the Service goes, once none is left.
    """
    metadata, model = version.metadata, version.spec.model_name
    annotations = {
        SWITCHED_ANNOTATION: lead.switched_at.isoformat(),
        PREVIOUS_ANNOTATION: lead.previous,
        CANARY_ANNOTATION: lead.canary,
        CANARY_SINCE_ANNOTATION: lead.canary_since.isoformat() if lead.canary_since is not None else None,
    }
    selected = {MODEL_VERSION_LABEL: lead.version}
    if lead.canary is not None:
        selected = {f"{BESIDE_LABEL_PREFIX}{lead.version}": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(model, stage),
            "namespace": metadata.namespace,
            "labels": {MANAGED_LABEL: "true", MODEL_LABEL: slug(model)},
            "annotations": {name: value for name, value in annotations.items() if value is not None},
            "ownerReferences": [
                _owner(version.api_version, name, uid, controller=False)
                for name, uid in sorted(owners.items())
            ],
        },
        "spec": {
            "type": "ClusterIP",
            "selector": {MODEL_LABEL: slug(model), **selected},
            "ports": _service_ports(lead),
        },
    }


def _service_ports(lead: Lead) -> list[Object]:
    ports: list[Object] = [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"}]
    if lead.grpc:
        # Gateways and meshes speak HTTP/1.1 to a port that does not say so.
        ports.append(
            {
                "name": GRPC_PORT_NAME,
                "port": GRPC_PORT,
                "targetPort": GRPC_PORT_NAME,
                "protocol": "TCP",
                "appProtocol": "kubernetes.io/h2c",
            }
        )
    return ports


def labels_of(version: ModelVersion) -> dict[str, str]:
    """The labels by which the pods of a version are found."""
    return {MODEL_LABEL: slug(version.spec.model_name), MODEL_VERSION_LABEL: version.spec.version}


def _owner(api_version: str, name: str, uid: str, *, controller: bool) -> Object:
    reference: Object = {"apiVersion": api_version, "kind": "ModelVersion", "name": name, "uid": uid}
    return reference | {"controller": True} if controller else reference


def _pod_spec(
    version: ModelVersion, serving: Serving, *, digest: str | None, defaults: ServerDefaults
) -> Object:
    volumes = [volume.to_wire() for volume in serving.volumes or ()]
    pod: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "containers": [_container(version, serving, digest=digest, defaults=defaults)],
        "volumes": [*volumes, {"name": SCRATCH_VOLUME, "emptyDir": {}}],
    }
    if serving.service_account_name is not None:
        pod["serviceAccountName"] = serving.service_account_name
    if serving.node_selector:
        pod["nodeSelector"] = serving.node_selector
    if serving.tolerations:
        pod["tolerations"] = [toleration.to_wire() for toleration in serving.tolerations]
    if serving.affinity:
        pod["affinity"] = serving.affinity
    if serving.priority_class_name is not None:
        pod["priorityClassName"] = serving.priority_class_name
    if serving.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.to_wire() for secret in serving.image_pull_secrets]
    return pod


def _container(
    version: ModelVersion, serving: Serving, *, digest: str | None, defaults: ServerDefaults
) -> Object:
    mounts = [mount.to_wire() for mount in serving.volume_mounts or ()]
    container: Object = {
        "name": CONTAINER,
        "image": serving.image or defaults.image,
        "command": serving.command or SERVER_COMMAND,
        "env": _environment(version, serving, digest=digest, defaults=defaults),
        "ports": _container_ports(serving),
        "volumeMounts": [*mounts, {"name": SCRATCH_VOLUME, "mountPath": SCRATCH_PATH}],
        "startupProbe": _probe("/v2/health/live", period=1, failures=START_SECONDS),
        "readinessProbe": _probe("/v2/health/ready", period=2, failures=2),
        "livenessProbe": _probe("/v2/health/live", period=10, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": CONTAINER_SECURITY,
    }
    if serving.args is not None:
        container["args"] = serving.args
    if serving.env_from:
        container["envFrom"] = [source.to_wire() for source in serving.env_from]
    if serving.resources is not None:
        container["resources"] = serving.resources.to_wire()
    return container


def _container_ports(serving: Serving) -> list[Object]:
    ports = {PORT_NAME: PORT} | ({GRPC_PORT_NAME: GRPC_PORT} if serving.grpc else {})
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()]


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _environment(
    version: ModelVersion, serving: Serving, *, digest: str | None, defaults: ServerDefaults
) -> list[Object]:
    spec = version.spec
    values = {
        SERVED_MODEL_ENV: f"models:/{spec.model_name}/{spec.version}".replace("$", "$$"),
        SERVED_DIGEST_ENV: digest,
        "MLFLOW_TRACKING_URI": defaults.tracking_uri,
        FEATURE_STORE_URI_ENV: defaults.feature_store_uri,
        MONITORING_URI_ENV: defaults.monitoring_uri,
        PREDICTION_LOG_URI_ENV: defaults.prediction_log_uri,
        TERMINATION_LOG_ENV: TERMINATION_LOG,
        "PORT": str(PORT),
        "MLINFRA_SERVING_DRAIN_SECONDS": str(DRAIN_SECONDS),
        GRPC_PORT_ENV: str(GRPC_PORT) if serving.grpc else None,
    }
    own = {variable.name for variable in serving.env or ()}
    values |= dict.fromkeys(WRITABLE_FOLDERS, SCRATCH_PATH)
    contract = [
        {"name": name, "value": value}
        for name, value in values.items()
        if value is not None and name not in own
    ]
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}
    replica = {
        "name": "POD_NAME",
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
    }
    # A server listens on its pod's own address alone: two pods may share a network.
    host = {"name": "MLINFRA_SERVING_HOST", "value": "$(POD_IP)"}
    return [address, replica, host, *contract, *(variable.to_wire() for variable in serving.env or ())]
