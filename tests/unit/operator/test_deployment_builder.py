"""The Deployment of a served version, its autoscaler, and the model's Service."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from unit.operator.objects import NAMESPACE, NOW, model_version

from mlinfra.resources import ModelVersion
from mlinfra.resources.names import MANAGED_LABEL, MODEL_LABEL, MODEL_VERSION_LABEL
from mlinfra.serving.process import END_SECONDS
from mlinfra_operator.naming import service_name
from mlinfra_operator.serving.builder import (
    ServerDefaults,
    build_autoscaler,
    build_deployment,
    build_service,
)
from mlinfra_operator.serving.observed import SPEC_HASH_ANNOTATION, Lead, deployment_of, service_of

Object = dict[str, Any]
DEFAULTS = ServerDefaults(
    image="server:1",
    tracking_uri="http://mlflow",
    feature_store_uri="file:///features",
    monitoring_uri="file:///monitoring",
)


def deployment(*, digest: str | None = "abc", defaults: ServerDefaults = DEFAULTS, **serving: Any) -> Object:
    version = model_version(serving=serving)
    assert version.spec.serving is not None
    return build_deployment(version, version.spec.serving, digest=digest, defaults=defaults)


def container(manifest: Object) -> Object:
    (only,) = manifest["spec"]["template"]["spec"]["containers"]
    found: Object = only
    return found


def environment(manifest: Object) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container(manifest)["env"]}


def test_the_server_is_told_which_file_of_which_version_it_may_serve() -> None:
    variables = environment(deployment())
    assert variables == {
        "POD_IP": "",
        "POD_NAME": "",
        "MLINFRA_SERVING_HOST": "$(POD_IP)",
        "MLINFRA_SERVED_MODEL": "models:/model/1",
        "MLINFRA_SERVED_DIGEST": "abc",
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "MLINFRA_FEATURE_STORE_URI": "file:///features",
        "MLINFRA_MONITORING_URI": "file:///monitoring",
        "MLINFRA_TERMINATION_LOG": "/mlinfra/scratch/termination-log",
        "PORT": "8080",
        "MLINFRA_SERVING_DRAIN_SECONDS": "5",
        "HOME": "/mlinfra/scratch",
        "TMPDIR": "/mlinfra/scratch",
    }
    assert "MLINFRA_SERVED_DIGEST" not in environment(deployment(digest=None))


def test_the_pod_is_restricted_and_asks_the_protocols_own_routes() -> None:
    manifest = deployment()
    pod, main = manifest["spec"]["template"]["spec"], container(manifest)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert main["securityContext"]["readOnlyRootFilesystem"] is True
    assert main["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert main["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    leave = main["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = int(environment(manifest)["MLINFRA_SERVING_DRAIN_SECONDS"])
    assert drain > 0, "who keeps a connection is told before it ends"
    assert leave + drain + END_SECONDS < pod["terminationGracePeriodSeconds"]
    assert manifest["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert (main["image"], main["command"]) == ("server:1", ["python", "-m", "mlinfra.serving"])


def test_what_is_asked_for_is_passed_on() -> None:
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}
    manifest = deployment(
        replicas=3,
        image="own:1",
        command=["serve"],
        args=["now"],
        resources=resources,
        nodeSelector={"disk": "fast"},
        env=[{"name": "PORT", "value": "8080"}, {"name": "MLINFRA_SERVING_MISSING", "value": "last"}],
        envFrom=[{"secretRef": {"name": "keys"}}],
        volumes=[{"name": "data", "emptyDir": {}}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        imagePullSecrets=[{"name": "pull"}],
        serviceAccountName="server",
        priorityClassName="high",
    )
    pod, main = manifest["spec"]["template"]["spec"], container(manifest)
    assert manifest["spec"]["replicas"] == 3
    assert (main["image"], main["command"], main["args"]) == ("own:1", ["serve"], ["now"])
    assert main["resources"] == resources
    assert main["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert [each["name"] for each in main["env"]].count("PORT") == 1
    assert environment(manifest)["MLINFRA_SERVING_MISSING"] == "last"
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert [volume["name"] for volume in pod["volumes"]] == ["data", "mlinfra-scratch"]
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("server", "high")
    assert pod["imagePullSecrets"] == [{"name": "pull"}]


def test_the_hash_changes_with_what_runs_and_with_nothing_else() -> None:
    def hash_of(manifest: Object) -> str:
        found: str = manifest["metadata"]["annotations"][SPEC_HASH_ANNOTATION]
        return found

    first = hash_of(deployment())
    assert hash_of(deployment()) == first
    assert hash_of(deployment(rollbackWindowSeconds=5)) == first
    changed = [deployment(replicas=2), deployment(digest="other"), deployment(autoscaling={"maxReplicas": 3})]
    assert len({first, *map(hash_of, changed)}) == 4


def test_an_autoscaler_says_how_many_pods_there_are() -> None:
    manifest = deployment(autoscaling={"minReplicas": 2, "maxReplicas": 5})
    assert "replicas" not in manifest["spec"]
    version = model_version(serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 5}})
    assert version.spec.serving is not None
    scaler = build_autoscaler(version, version.spec.serving, deployment_uid="d")
    assert scaler is not None
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    assert scaler["metadata"]["ownerReferences"][0]["uid"] == "d"
    plain = ModelVersion.model_validate({**version.model_dump(by_alias=True), "spec": PLAIN})
    assert plain.spec.serving is not None
    assert build_autoscaler(plain, plain.spec.serving, deployment_uid="d") is None


PLAIN: Object = {"modelName": "model", "version": "1", "serving": {}}


def test_what_is_built_is_recognised_again() -> None:
    manifest = deployment()
    manifest["metadata"] |= {"uid": "u", "generation": 1}
    found = deployment_of(manifest)
    assert (found.owner, found.spec_hash) == (
        "uid-1",
        manifest["metadata"]["annotations"][SPEC_HASH_ANNOTATION],
    )
    assert (found.available, found.autoscaled, found.deleting) == (False, False, False)
    ready = {
        "observedGeneration": 1,
        "replicas": 1,
        "updatedReplicas": 1,
        "availableReplicas": 1,
        "readyReplicas": 1,
    }
    assert deployment_of({**manifest, "status": ready}).available
    old = {**ready, "observedGeneration": 0}
    assert not deployment_of({**manifest, "status": old}).available
    rolling = {**ready, "replicas": 2}
    assert not deployment_of({**manifest, "status": rolling}).available


def test_a_service_finds_one_version_and_belongs_to_all_that_were_served() -> None:
    version = model_version()
    owners = {"model-1": "uid-1", "model-0": "uid-0"}
    manifest = build_service(version, "Production", Lead("1", NOW, "0"), owners=owners)
    assert manifest["metadata"]["namespace"] == NAMESPACE
    labels = {MODEL_LABEL: "model", MODEL_VERSION_LABEL: "1"}
    assert manifest["spec"]["selector"] == labels
    assert labels.items() <= deployment()["spec"]["template"]["metadata"]["labels"].items()
    assert not any(owner.get("controller") for owner in manifest["metadata"]["ownerReferences"])
    found = service_of(manifest)
    assert (found.version, found.previous, found.switched_at, found.ours) == ("1", "0", NOW, True)
    assert found.owners == {"model-1": "uid-1", "model-0": "uid-0"}
    del manifest["metadata"]["labels"][MANAGED_LABEL]
    manifest["metadata"]["annotations"]["mlinfra.io/switched-at"] = "yesterday"
    edited = service_of(manifest)
    assert (edited.ours, edited.switched_at) == (False, None)


def test_grpc_has_a_port_of_the_pods_and_of_the_service_where_it_is_asked_for() -> None:
    asked = deployment(grpc=True)
    ports = {port["name"]: port["containerPort"] for port in container(asked)["ports"]}
    assert ports == {"http": 8080, "grpc": 8081}
    assert environment(asked)["MLINFRA_SERVING_GRPC_PORT"] == "8081"
    assert "MLINFRA_SERVING_GRPC_PORT" not in environment(deployment())
    assert [port["name"] for port in container(deployment())["ports"]] == ["http"]
    manifest = build_service(model_version(), "Production", Lead("1", NOW, grpc=True), owners={})
    http, grpc = manifest["spec"]["ports"]
    assert (http["port"], grpc["port"], grpc["targetPort"]) == (8080, 8081, "grpc")
    assert grpc["appProtocol"] == "kubernetes.io/h2c"
    assert service_of(manifest).grpc
    assert not service_of(build_service(model_version(), "Production", Lead("1", NOW), owners={})).grpc


def test_a_canary_has_its_share_of_pods_which_the_service_of_both_versions_finds() -> None:
    version = model_version(version="2", serving={"autoscaling": {"maxReplicas": 5}})
    assert version.spec.serving is not None
    manifest = build_deployment(
        version, version.spec.serving, digest="abc", defaults=DEFAULTS, beside={"1"}, canary_pods=3
    )
    manifest["metadata"] |= {"uid": "u"}
    found = deployment_of(manifest)
    assert (found.version, found.desired, found.beside) == ("2", 3, {"1", "2"})
    assert not found.autoscaled
    assert manifest["spec"]["selector"]["matchLabels"] == {MODEL_LABEL: "model", MODEL_VERSION_LABEL: "2"}
    service = build_service(version, "Production", Lead("1", NOW, "0", "2", NOW), owners={})
    selector = service["spec"]["selector"].items()
    assert MODEL_VERSION_LABEL not in service["spec"]["selector"]
    for each in (manifest, deployment()):
        assert selector <= each["spec"]["template"]["metadata"]["labels"].items()
    told = service_of(service)
    assert (told.version, told.previous, told.canary, told.canary_since) == ("1", "0", "2", NOW)
    alone = build_service(version, "Production", Lead("2", NOW, "1"), owners={})
    assert service_of(alone).canary is None
    assert alone["spec"]["selector"].items() <= manifest["spec"]["template"]["metadata"]["labels"].items()


@given(model=st.text(min_size=1, max_size=200))
def test_names_of_services_are_dns_labels_that_begin_with_a_letter(model: str) -> None:
    names = {service_name(model, "Production"), service_name(model, "Staging")}
    assert len(names) == 2
    for name in names:
        assert len(name) <= 63
        assert name[0].isalpha()
        assert name[0].isascii()
        assert all(letter.isascii() and (letter.isalnum() or letter == "-") for letter in name)
        assert not name.endswith("-")


def test_a_servers_credentials_come_from_a_secret_by_reference_alone() -> None:
    sources = [{"secretRef": {"name": "mlflow-reader"}}]
    found = deployment(envFrom=sources)
    assert container(found)["envFrom"] == sources
    assert environment(found)["MLFLOW_TRACKING_URI"] == "http://mlflow"
