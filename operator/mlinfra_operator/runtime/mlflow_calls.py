"""The operator's questions to MLflow and what it writes there. Blocking; plain values in and out.

Every function may raise ``mlflow.exceptions.MlflowException``.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from mlinfra.resources.promotion import Stage
from mlinfra.tracking.contract import (
    CHAMPION_PROBLEM_TAG,
    CHAMPION_TAG,
    CLUSTER_UID_TAG,
    IMAGE_DIGEST_TAG,
    IMPORTED_TAG,
    MANAGED_TAG,
    NAMESPACE_TAG,
    PROGRESS_TAG,
    SHA256_TAG,
    TRAINING_JOB_UID_TAG,
)
from mlinfra.tracking.errors import TrackingRefusedError
from mlinfra.tracking.stages import effective_stage, set_stage, take_production
from mlinfra_operator.tracking import (
    FinalStatus,
    ListedVersion,
    LoggedModel,
    MeasuredRun,
    ModelOwner,
    Point,
    Problem,
    RegisteredModel,
    RegisteredVersion,
    Run,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion

RUNNING = "RUNNING"
MAX_RESULTS = 1000
EPOCH_METRIC = "epoch"
"""By which an own script tells how many epochs are done."""
MOST_EPOCHS = 1e9
"""What is as large, negative or no number counts none."""
SYSTEM_METRICS = "system/"
"""What MLflow measures of the machine: its steps count samples, not what is trained."""
LOGGED_MODEL_SCHEME = "models:/"
ABSENT = "RESOURCE_DOES_NOT_EXIST"
EXISTS = "RESOURCE_ALREADY_EXISTS"


def model_owner(client: "MlflowClient", name: str) -> ModelOwner:
    """Which namespace owns a registered model."""
    from mlflow.exceptions import MlflowException

    try:
        return ModelOwner(client.get_registered_model(name).tags.get(NAMESPACE_TAG))
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
        return ModelOwner(None)


def ensure_run(
    client: "MlflowClient", *, experiment: str, name: str, uid: str, tags: Mapping[str, str]
) -> Run:
    """The run of a TrainingJob's UID; created where absent, and the earliest where there are several."""
    experiment_id = _experiment_id(client, experiment)
    runs = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`{TRAINING_JOB_UID_TAG}` = '{uid}' and tags.`{MANAGED_TAG}` = 'true'",
        order_by=["attributes.start_time ASC"],
    )
    for extra in runs[1:]:
        # A lost answer made the operator create it again; no pod was ever told of it.
        client.delete_run(extra.info.run_id)
    if runs:
        return run_of(runs[0])
    return run_of(client.create_run(experiment_id, run_name=name, tags=dict(tags)))


def read_run(client: "MlflowClient", run_id: str) -> Run:
    """The run as it is now."""
    return run_of(client.get_run(run_id))


def measured_run(client: "MlflowClient", run_id: str) -> MeasuredRun | None:
    """What a run measured; None where MLflow has no such run any more."""
    from mlflow.exceptions import MlflowException

    try:
        data = client.get_run(run_id).data
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
        return None
    told = data.tags.get(CHAMPION_PROBLEM_TAG)
    return MeasuredRun(
        dict(data.metrics),
        data.tags.get(CHAMPION_TAG) or None,
        champion_problem=Problem("ChampionNotMeasured", told) if told else None,
    )


def running_runs(client: "MlflowClient", experiment_ids: Collection[str]) -> list[Run]:
    """All runs of these experiments that the operator created and that have not ended."""
    return _search(
        client, experiment_ids, f"tags.`{MANAGED_TAG}` = 'true' and attributes.status = '{RUNNING}'"
    )


def running_runs_of_cluster(client: "MlflowClient", cluster_uid: str) -> list[Run]:
    """All runs that operators of this cluster created and that have not ended."""
    experiments = [found.experiment_id for found in _pages(client.search_experiments)]
    return _search(
        client, experiments, f"tags.`{CLUSTER_UID_TAG}` = '{cluster_uid}' and attributes.status = '{RUNNING}'"
    )


def logged_models(client: "MlflowClient", run: Run) -> tuple[LoggedModel, ...]:
    """All models that a run logged."""
    found = _pages(
        client.search_logged_models, [run.experiment_id], filter_string=f"source_run_id = '{run.run_id}'"
    )
    return tuple(
        LoggedModel(model.model_id, model.name, model.status.value, dict(model.tags)) for model in found
    )


def register_version(
    client: "MlflowClient",
    *,
    name: str,
    namespace: str,
    model_id: str,
    run_id: str,
    uid: str,
    image_digest: str | None,
) -> ModelOwner | str:
    """Register a logged model, or find the version that was registered for this TrainingJob.

    Returns:
        The number of the version, or the owner where another namespace owns the model.
    """
    owner = _claim_model(client, name, namespace)
    if owner.namespace != namespace:
        return owner
    registered = [
        int(version.version)
        for version in client.search_model_versions(f"run_id = '{run_id}'")
        if version.name == name and version.tags.get(TRAINING_JOB_UID_TAG) == uid
    ]
    if registered:
        # The earliest, so that a request that MLflow carried out late changes nothing.
        return str(min(registered))
    created = client.create_model_version(
        name,
        f"models:/{model_id}",
        run_id=run_id,
        tags={TRAINING_JOB_UID_TAG: uid} | ({IMAGE_DIGEST_TAG: image_digest} if image_digest else {}),
        await_creation_for=0,
        model_id=model_id,
    )
    return str(created.version)


def end_run(client: "MlflowClient", run_id: str, status: FinalStatus) -> bool:
    """End a run that still runs; whether it did."""
    if client.get_run(run_id).info.status != RUNNING:
        return False
    client.set_terminated(run_id, status)
    return True


def registered_model(client: "MlflowClient", name: str, namespace: str) -> RegisteredModel | None:
    """A registered model with its versions, owned by ``namespace`` from now on where nobody owned it."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise
        return None
    owner = ModelOwner(model.tags.get(NAMESPACE_TAG))
    if owner.namespace is None:
        client.set_registered_model_tag(name, NAMESPACE_TAG, namespace)
        owner = ModelOwner(namespace)
    # A search of versions leaves their aliases out.
    aliases: dict[str, list[str]] = {}
    for alias, version in model.aliases.items():
        aliases.setdefault(str(version), []).append(alias)
    found = _pages(client.search_model_versions, f"name = '{name}'")
    versions = [version_of(version, aliases.get(str(version.version), [])) for version in found]
    return RegisteredModel(owner, {version.version: version for version in versions})


def model_digest(client: "MlflowClient", name: str, version: str) -> str | None:
    """SHA-256 of a version's file as its training logged it; None where it did not."""
    # MLflow's own stores do not keep the version's model_id; its source tells it.
    source = str(client.get_model_version(name, version).source or "")
    model_id = source.removeprefix(LOGGED_MODEL_SCHEME)
    if model_id == source or "/" in model_id or "@" in model_id:
        return None
    return client.get_logged_model(model_id).tags.get(SHA256_TAG)


def follow_stage(
    client: "MlflowClient", name: str, version: str, stage: Stage, demoted: Iterable[str]
) -> None:
    """Bring a version to a stage; those to demote leave Production for it."""
    if stage == "Production":
        take_production(client, name, version, demoted=demoted)
    else:
        set_stage(client, name, version, stage)


def all_versions(client: "MlflowClient") -> list[ListedVersion]:
    """The versions of all registered models."""
    owners = {model.name: model.tags.get(NAMESPACE_TAG) for model in _pages(client.search_registered_models)}
    return [
        ListedVersion(
            model=found.name,
            version=str(found.version),
            owner=owners[found.name],
            run_id=found.run_id or None,
            tags=dict(found.tags),
        )
        for found in _pages(client.search_model_versions)
        # A prompt has versions as well, and one registered meanwhile is seen next time.
        if found.name in owners
    ]


def mark_imported(client: "MlflowClient", name: str, version: str, model_version: str) -> None:
    """Remember that a version got a ModelVersion, ``namespace/name``: it gets no second one."""
    client.set_model_version_tag(name, version, IMPORTED_TAG, model_version)


def delete_version(client: "MlflowClient", name: str, version: str) -> None:
    """Delete a version of a registered model; nothing where it is gone already."""
    from mlflow.exceptions import MlflowException

    try:
        client.delete_model_version(name, version)
    except MlflowException as error:
        if error.error_code != ABSENT:
            raise


def run_of(run: "MlflowRun") -> Run:
    """An MLflow run as plain values."""
    return Run(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        tags=dict(run.data.tags),
        # One NaN is not equal to another, but to itself: a run that was read again is the same run.
        metrics={name: math.nan if math.isnan(value) else value for name, value in run.data.metrics.items()},
        params=dict(run.data.params),
        **_way(run),
    )


def _way(run: "MlflowRun") -> dict[str, tuple[Point, ...]]:
    """How many epochs and steps the run has logged; nothing where the trainer's own tag tells it."""
    if PROGRESS_TAG in run.data.tags or not run.data.metrics:
        return {}
    # The entity's own metrics are values alone.
    told = [each for each in run.data.to_proto().metrics if not each.key.startswith(SYSTEM_METRICS)]
    epochs = [Point(each.value, each.timestamp) for each in told if each.key == EPOCH_METRIC]
    steps = [Point(each.step, each.timestamp) for each in told]
    furthest = max(steps, key=lambda point: (point.count, -point.milliseconds), default=None)
    return {
        "epochs": tuple(point for point in epochs if 0 <= point.count < MOST_EPOCHS),
        "steps": (furthest,) if furthest is not None else (),
    }


def version_of(version: "ModelVersion", aliases: Collection[str]) -> RegisteredVersion:
    """An MLflow model version as plain values."""
    return RegisteredVersion(
        version=str(version.version),
        stage=effective_stage(aliases, version.current_stage),
        mlflow_stage=str(version.current_stage),
        aliases=tuple(sorted(aliases)),
        run_id=version.run_id or None,
    )


def _experiment_id(client: "MlflowClient", name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != EXISTS:
                raise
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage == "deleted":
        raise TrackingRefusedError(
            f"MLflow's experiment {name!r} is deleted: restore it with 'mlflow experiments restore', "
            "or choose another spec.modelName."
        )
    return str(found.experiment_id)


def _claim_model(client: "MlflowClient", name: str, namespace: str) -> ModelOwner:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={NAMESPACE_TAG: namespace})
    except MlflowException as error:
        if error.error_code != EXISTS:
            raise
        owner = model_owner(client, name)
        if owner.namespace is not None:
            return owner
        client.set_registered_model_tag(name, NAMESPACE_TAG, namespace)
    return ModelOwner(namespace)


def _search(client: "MlflowClient", experiment_ids: Collection[str], query: str) -> list[Run]:
    if not experiment_ids:
        return []
    return [run_of(run) for run in _pages(client.search_runs, list(experiment_ids), filter_string=query)]


def _pages(search: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """All results of one of MLflow's paged searches."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(*args, **kwargs, max_results=MAX_RESULTS, page_token=token)
        found += page
        token = cast("str | None", page.token)
        if not token:
            return found
