"""All parts of the operator, wired: caches fed by kopf, one queue, a controller a kind, and MLflow."""

import asyncio
import logging
import random
import socket
import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, cast
from wsgiref.simple_server import WSGIServer

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import (
    DEPLOYMENTS,
    JOBS,
    MODEL_VERSIONS,
    NAMESPACES,
    POD_GROUPS,
    RETRAINING_POLICIES,
    SERVICES,
    TRAINING_JOBS,
)
from mlinfra.resources.training_job_status import TrainingJobStatus
from mlinfra_operator.modelversion import controller as modelversion
from mlinfra_operator.retrainingpolicy import controller as retrainingpolicy
from mlinfra_operator.runtime.cache import Key, Object, ObjectCache, key_of, lean, typed
from mlinfra_operator.runtime.child_jobs import ChildJobs
from mlinfra_operator.runtime.election import LeaderElection
from mlinfra_operator.runtime.events import EventPoster
from mlinfra_operator.runtime.finisher import RunFinisher
from mlinfra_operator.runtime.health import Health
from mlinfra_operator.runtime.importer import VersionImporter
from mlinfra_operator.runtime.logs import about
from mlinfra_operator.runtime.managed_services import watch_services
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.runtime.model_checks import ModelChecks
from mlinfra_operator.runtime.persistence import persistently
from mlinfra_operator.runtime.pod_lists import PodLists
from mlinfra_operator.runtime.prometheus import ObservedState, OperatorMetrics
from mlinfra_operator.runtime.run_watch import RunWatch
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.runtime.work_queue import Retry, WorkQueue
from mlinfra_operator.serving.builder import ServerDefaults
from mlinfra_operator.serving.controller import ServingController
from mlinfra_operator.settings import Settings
from mlinfra_operator.tracking import FinalStatus, Finish
from mlinfra_operator.trainingjob import controller as trainingjob
from mlinfra_operator.trainingjob.companions import Companions
from mlinfra_operator.trainingjob.job_builder import PodDefaults

WORKERS = 16
RELIST_SECONDS = 600.0
"""How often all objects are listed, for deletions that a broken watch kept to itself."""
LAST_CALLS_SECONDS = 8.0
"""So long an operator that ends waits for its calls: with one more request it is less than a lease lives, and
than a pod is given to end."""
FORBIDDEN, NOT_FOUND = 403, 404

Kind = Literal["TrainingJob", "ModelVersion", "RetrainingPolicy", "Run", "Sweep", "Import"]
WorkKey = tuple[Kind, str, str]
"""Kind with namespace and name, or with a run's ID and final status."""

logger = logging.getLogger(__name__)


class Operator:
    """One operator: `prepare` it, then `run` it while kopf feeds its caches.

    Args:
        settings: what it is configured with.
        client: client of the cluster.
        health: told whether the operator knows what there is.
    """

    def __init__(self, settings: Settings, client: KubernetesClient, health: Health) -> None:
        self._settings = settings
        self._client = client
        self._health = health
        self._mlflow = Mlflow(settings.tracking_uri)
        self._metrics = OperatorMetrics()
        self._server: WSGIServer | None = None
        self._leads = False
        self._missed = asyncio.Event()
        self._election = _election(settings, client) if settings.leader_election else None
        self._queue: WorkQueue[WorkKey] = WorkQueue(self._reconcile, comes_first=self._awaits_job)
        self.jobs = ObjectCache(self._job_changed, self._job_deleted, keep=lean)
        self.versions = ObjectCache(self._version_changed, self._version_deleted)
        self.policies = ObjectCache(self._policy_changed, self._policy_deleted)
        self._children = ChildJobs(
            client, settings.watch_namespace, self._enqueue_job, health.pulse(JOBS.plural)
        )
        self._runs = RunWatch(self._mlflow, self._enqueue_job)
        self._services = watch_services(
            client,
            settings.watch_namespace,
            on_model_service_gone=lambda obj: self._serving.service_gone(obj),
            on_peer_service_gone=self._enqueue_job,
            pulse=health.pulse(SERVICES.plural, optional=True),
        )
        self._serving = ServingController(
            client,
            mlflow=self._mlflow,
            versions=self.versions,
            namespace=settings.watch_namespace,
            defaults=ServerDefaults(
                image=settings.server_image,
                tracking_uri=settings.tracking_uri,
                feature_store_uri=settings.feature_store_uri,
                monitoring_uri=settings.monitoring_uri,
                prediction_log_uri=settings.prediction_log_uri,
            ),
            enqueue=self._enqueue_version,
            services=self._services,
            pulse=health.pulse(DEPLOYMENTS.plural, optional=True),
        )
        self._events = EventPoster(client, held=self._makes_pods)
        self._checks = ModelChecks(
            self._serving.address_of, self._enqueue_policy, token=settings.serving_token
        )
        self._trainingjobs: trainingjob.TrainingJobController
        self._modelversions: modelversion.ModelVersionController
        self._retrainingpolicies: retrainingpolicy.RetrainingPolicyController
        self._finisher: RunFinisher
        self._importer = (
            VersionImporter(client, self._mlflow, self.versions, settings.import_scope)
            if settings.import_scope is not None
            else None
        )

    async def prepare(self) -> None:
        """Learn what there is; nothing is decided on half of it.

        The API server and MLflow's client are waited for as long as it takes.
        """
        cluster_uid = await persistently(self._cluster_uid)
        self._wire(cluster_uid, gang_scheduling=await persistently(self._offers_gangs))
        await asyncio.gather(persistently(self._relist), self._mlflow.warm_up())

    async def run(self) -> None:
        """Work until cancelled; what kopf tells of is fed to `jobs`, `versions` and `policies` meanwhile."""
        self._serve_metrics()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._children.run())
            group.create_task(self._serving.deployments.run())
            group.create_task(self._services.run())
            await self._children.synced.wait()
            self._health.awaits = None
            group.create_task(self._health.watch_over())
            if self._election is not None:
                await self._election.acquire()
                group.create_task(self._election.hold())
            self._leads = True
            logger.info("ready")
            self._queue.add(("Sweep", "", ""))
            self._queue.add(("Import", "", ""))
            group.create_task(self._queue.run(WORKERS))
            group.create_task(self._events.run())
            group.create_task(self._runs.run())
            group.create_task(self._checks.run())
            group.create_task(self._relist_regularly())
            group.create_task(self._look_for_peer_services())

    def _serve_metrics(self) -> None:
        kinds = {
            "trainingjobs": self.jobs,
            "modelversions": self.versions,
            "retrainingpolicies": self.policies,
        }
        self._metrics.observe(
            ObservedState(
                kinds,
                depth=lambda: len(self._queue),
                leads=lambda: self._leads,
                heard=self._health.silences,
            )
        )
        if self._settings.metrics_address is not None:
            self._server = self._metrics.serve(self._settings.metrics_address)
            logger.info("metrics at http://%s/metrics", self._settings.metrics_address)

    def relist(self) -> None:
        """List all objects soon: a watch began anew, and deletions before that are told by nobody."""
        self._missed.set()

    async def aclose(self) -> bool:
        """Let go of MLflow and of the lease, once `run` has ended.

        Returns:
            Whether no call of MLflow runs any more. Where one does, the lease is left to expire: another
            replica would not see what the call is about to leave, and do it a second time.
        """
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        ended, _ = await asyncio.gather(end_calls(self._mlflow, self._election), self._events.aclose())
        return ended

    def _wire(self, cluster_uid: str | None, *, gang_scheduling: bool) -> None:
        self._trainingjobs = trainingjob.TrainingJobController(
            trainingjob.Context(
                client=self._client,
                mlflow=self._mlflow,
                jobs=self.jobs,
                versions=self.versions,
                children=self._children,
                companions=Companions(self._client, self._services, gang_offered=gang_scheduling),
                pods=PodLists(self._client),
                runs=self._runs,
                status=StatusWriter(self._client, TRAINING_JOBS, self.jobs),
                events=self._events,
                defaults=PodDefaults(
                    image=self._settings.trainer_image,
                    tracking_uri=self._settings.tracking_uri,
                    feature_store_uri=self._settings.feature_store_uri,
                    gang_scheduling=gang_scheduling,
                ),
                finish=self._finish,
                phase_changed=self._phase_changed,
                cluster_uid=cluster_uid,
            )
        )
        self._modelversions = modelversion.ModelVersionController(
            modelversion.Context(
                client=self._client,
                mlflow=self._mlflow,
                versions=self.versions,
                status=StatusWriter(self._client, MODEL_VERSIONS, self.versions),
                events=self._events,
                enqueue=self._enqueue_version,
                production_changed=self._production_changed,
                serving=self._serving,
                deletion_patience=timedelta(seconds=self._settings.deletion_patience),
            )
        )
        self._retrainingpolicies = retrainingpolicy.RetrainingPolicyController(
            retrainingpolicy.Context(
                client=self._client,
                policies=self.policies,
                jobs=self.jobs,
                versions=self.versions,
                status=StatusWriter(self._client, RETRAINING_POLICIES, self.policies),
                events=self._events,
                checks=self._checks,
            )
        )
        self._finisher = RunFinisher(
            self._mlflow,
            self.jobs,
            self._finish,
            cluster_uid=cluster_uid,
            namespace=self._settings.watch_namespace,
        )

    async def _reconcile(self, key: WorkKey) -> float | None:
        if self._election is not None and self._election.is_overdue:
            # Whoever was frozen begins nothing before the election has noticed.
            raise Retry
        with self._metrics.reconciling(key[0], Retry):
            return await self._look_at(key)

    async def _look_at(self, key: WorkKey) -> float | None:
        kind, first, second = key
        match kind:
            case "TrainingJob":
                about(kind, first, second, self.jobs.get((first, second)))
                return await self._trainingjobs.reconcile((first, second))
            case "ModelVersion":
                about(kind, first, second, self.versions.get((first, second)))
                return await self._modelversions.reconcile((first, second))
            case "RetrainingPolicy":
                about(kind, first, second, self.policies.get((first, second)))
                return await self._retrainingpolicies.reconcile((first, second))
            case "Run":
                await self._finisher.end(Finish(first, cast("FinalStatus", second)))
            case "Sweep":
                await self._finisher.sweep()
            case "Import":
                return await self._importer.run_once() if self._importer is not None else None
        return None

    def _finish(self, finish: Finish) -> None:
        self._queue.add(("Run", finish.run_id, finish.status))

    def _enqueue_job(self, namespace: str, name: str) -> None:
        self._queue.add(("TrainingJob", namespace, name))

    def _awaits_job(self, key: WorkKey) -> bool:
        """Whether it is a TrainingJob that nobody has looked at: pods come before what tells of others."""
        kind, namespace, name = key
        if kind != "TrainingJob":
            return False
        job = self.jobs.get((namespace, name))
        return job is not None and not job.get("status") and self._children.get((namespace, name)) is None

    def _makes_pods(self) -> bool:
        """Whether Jobs and pods of many new TrainingJobs are being made: what tells of others waits."""
        return self._queue.first_wait or self._trainingjobs.many_await_pods

    def _enqueue_version(self, key: Key) -> None:
        self._queue.add(("ModelVersion", *key))

    def _job_changed(self, obj: Object) -> None:
        self._enqueue_job(*key_of(obj))
        self._enqueue_policy_of(obj)

    def _job_deleted(self, obj: Object) -> None:
        self._trainingjobs.forget(obj)
        self._enqueue_policy_of(obj)

    def _phase_changed(self, job: Object, status: TrainingJobStatus) -> None:
        """A TrainingJob as it was before its new phase was stored."""
        told = "startTime" in (job.get("status") or {})
        # A Job that fails before it has a pod has started, too.
        if status.start_time is not None and status.attempts and not told:
            self._metrics.first_pod(job, datetime.fromisoformat(status.start_time))
        self._enqueue_policy_of(job)

    def _enqueue_policy_of(self, job: Object) -> None:
        key = retrainingpolicy.policy_of(job)
        if key is not None:
            self._queue.add(("RetrainingPolicy", *key))

    def _policy_changed(self, obj: Object) -> None:
        self._enqueue_policy(key_of(obj))

    def _policy_deleted(self, obj: Object) -> None:
        self._retrainingpolicies.forget(obj)

    def _enqueue_policy(self, key: Key) -> None:
        self._queue.add(("RetrainingPolicy", *key))

    def _version_changed(self, obj: Object) -> None:
        self._enqueue_version(key_of(obj))

    def _production_changed(self, version: Object) -> None:
        """Policies that watch their new versions compare what is in Production now."""
        for policy in self.policies:
            same = policy["metadata"].get("namespace") == version["metadata"].get("namespace")
            watched = same and policy["spec"].get("modelName") == version["spec"].get("modelName")
            if watched and "rollback" in policy["spec"]:
                self._enqueue_policy(key_of(policy))

    def _version_deleted(self, obj: Object) -> None:
        self._modelversions.forget(obj)

    async def _relist(self) -> None:
        for resource, cache in (
            (TRAINING_JOBS, self.jobs),
            (MODEL_VERSIONS, self.versions),
            (RETRAINING_POLICIES, self.policies),
        ):
            try:
                objects, version = await self._client.list(
                    resource, self._settings.watch_namespace, keep=cache.keep
                )
            except ApiError as error:
                if error.status == NOT_FOUND:
                    what = f"{resource.plural}.{resource.group} is not served: apply the CRDs (crds/)"
                    raise ApiError(error.status, error.reason, what) from error
                raise
            cache.replace((typed(resource, obj) for obj in objects), version)

    async def _relist_regularly(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._missed.wait(), RELIST_SECONDS * random.uniform(0.9, 1.1))
            self._missed.clear()
            await persistently(self._relist)
            # A run may have lost its TrainingJob before the status told of it.
            self._queue.add(("Sweep", "", ""))

    async def _look_for_peer_services(self) -> None:
        """One that was deleted while no operator watched is told of by nobody."""
        await self._services.synced.wait()
        for job in self.jobs:
            if (job["spec"].get("numNodes") or 1) > 1:
                self._enqueue_job(*key_of(job))

    async def _offers_gangs(self) -> bool:
        return await self._client.offers(POD_GROUPS)

    async def _cluster_uid(self) -> str | None:
        try:
            found = await self._client.get(NAMESPACES, "kube-system")
        except ApiError as error:
            if error.status not in (FORBIDDEN, NOT_FOUND):
                raise
            logger.warning("runs that nobody ended are not looked for: %s", error)
            return None
        return str(found["metadata"]["uid"])


async def end_calls(mlflow: Mlflow, election: LeaderElection | None) -> bool:
    """Wait for the calls that run; the lease is given back where all have ended. Whether they have."""
    if election is not None:
        await election.renew()
    ended = await mlflow.aclose(LAST_CALLS_SECONDS)
    if ended and election is not None:
        await election.release()
    return ended


def _election(settings: Settings, client: KubernetesClient) -> LeaderElection:
    return LeaderElection(
        client,
        namespace=settings.lease_namespace or client.config.namespace,
        name=settings.lease_name,
        identity=settings.identity or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
    )
