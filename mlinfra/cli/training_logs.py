"""Copies the logs of a training's pods to standard output; what is said about them goes to standard error."""

import asyncio

import typer

from mlinfra.cli.access import NOT_FOUND, ClusterAccessError, got, listed, told_refusals
from mlinfra.cli.object_summary import Object, summary_of
from mlinfra.cli.training_pods import (
    TrainingPod,
    check_node,
    chosen,
    has_ended,
    next_pod,
    nodes_of,
    training_pods,
)
from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.informer import Informer, running
from mlinfra.kube.resource import PODS, TRAINING_JOBS
from mlinfra.resources.names import TRAINING_JOB_UID_LABEL


class TrainingLogs:
    """The logs of one TrainingJob.

    Args:
        client: a client of the cluster.
        name: of the TrainingJob.
        namespace: of the TrainingJob.
        attempt: its number from 1; None for the last.
        node: number of the pod among those that train together, from 0; None for all.
        tail: so many of the newest lines; None for all.
    """

    def __init__(
        self,
        client: KubernetesClient,
        name: str,
        namespace: str,
        *,
        attempt: int | None = None,
        node: int | None = None,
        tail: int | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._attempt = attempt
        self._node = node
        self._tail = tail
        self._last: dict[int, TrainingPod] = {}
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._told = ""

    async def print(self) -> None:
        """What there is now.

        Raises:
            UnknownResourceError: the TrainingJob has no such node.
            ClusterAccessError: there is no log, or the API server refuses or does not answer.
        """
        job = await got(self._client, TRAINING_JOBS, self._name, self._namespace)
        pods = await listed(self._client, PODS, self._namespace, label_selector=_selector(job))
        wanted = chosen(job, training_pods(job, pods), attempt=self._attempt, node=self._node)
        for pod in wanted:
            if pod.has_log:
                await self._copy(pod, nodes_of(job), follow=False)
        waiting = [f"pod {pod.name} has not started ({pod.why})" for pod in wanted if not pod.has_log]
        if len(waiting) == len(wanted):
            raise ClusterAccessError(f"{'; '.join(waiting)}. To wait for it: mlinfra logs {self._name} -f")
        for line in waiting:
            typer.secho(line, err=True)

    async def follow(self) -> None:
        """The log of each node's pod, and of the one after it where that fails, until the training ends.

        Raises:
            UnknownResourceError: the TrainingJob has no such node.
            ClusterAccessError: no pod is left, or the API server refuses.
        """
        job = await got(self._client, TRAINING_JOBS, self._name, self._namespace)
        check_node(job, self._node)
        jobs = Informer(
            self._client,
            TRAINING_JOBS,
            namespace=self._namespace,
            field_selector=f"metadata.name={self._name}",
            on_change=lambda *_: self._changed.set(),
        )
        pods = Informer(
            self._client,
            PODS,
            namespace=self._namespace,
            label_selector=_selector(job),
            on_change=lambda *_: self._changed.set(),
        )
        try:
            async with running(jobs, pods):
                while not self._is_over(job, jobs, pods):
                    await self._changed.wait()
                    self._changed.clear()
        finally:
            for stream in self._streams.values():
                stream.cancel()
            await asyncio.gather(*self._streams.values(), return_exceptions=True)

    def _is_over(self, job: Object, jobs: Informer, pods: Informer) -> bool:
        """Begin with the pods whose turn it is; whether there is nothing more to come."""
        now = jobs.objects.get((self._namespace, self._name))
        found = training_pods(now or job, pods.objects.values())
        if self._attempt is not None:
            found = [pod for pod in found if pod.attempt == self._attempt]
        nodes = range(nodes_of(job)) if self._node is None else [self._node]
        for node in nodes:
            if node in self._streams and self._streams[node].done():
                self._streams.pop(node).result()
            pod = next_pod(found, node=node, last=self._last.get(node))
            if node not in self._streams and pod is not None:
                self._begin(pod, nodes_of(job))
        if self._streams:
            return False
        if not self._last and (has_ended(now) or (self._attempt is not None and not found)):
            everything = training_pods(now or job, pods.objects.values())
            waiting = chosen(now or job, everything, attempt=self._attempt, node=self._node)[0]
            raise ClusterAccessError(f"pod {waiting.name} never started ({waiting.why})")
        if has_ended(now) or (self._attempt is not None and self._last.keys() >= {pod.node for pod in found}):
            return True
        self._tell_state(now or job)
        return False

    def _begin(self, pod: TrainingPod, nodes: int) -> None:
        if pod.node in self._last:
            typer.secho(f"attempt {pod.attempt}: pod {pod.name}", err=True)
        self._last[pod.node] = pod
        stream = self._streams[pod.node] = asyncio.create_task(self._copy_while_there(pod, nodes))
        stream.add_done_callback(lambda _: self._changed.set())

    def _tell_state(self, job: Object) -> None:
        """Tell what is waited for, whenever that changes."""
        summary = summary_of(job, "TrainingJob")
        state = f"{summary.phase or 'Pending'}{f' ({summary.why})' if summary.why else ''}"
        if state != self._told:
            typer.secho(f"TrainingJob {self._name}: {state}", err=True)
            self._told = state

    async def _copy_while_there(self, pod: TrainingPod, nodes: int) -> None:
        try:
            await self._copy(pod, nodes, follow=True)
        except ClusterAccessError as error:
            if not isinstance(error.__cause__, ApiError) or error.__cause__.status != NOT_FOUND:
                raise
            typer.secho(str(error), err=True)

    async def _copy(self, pod: TrainingPod, nodes: int, *, follow: bool) -> None:
        prefix = f"[node {pod.node}] " if self._node is None and nodes > 1 else ""
        with told_refusals(self._client, f"log of pod {pod.name}"):
            async for line in self._client.log(
                pod.name, self._namespace, container=pod.container, follow=follow, tail_lines=self._tail
            ):
                typer.echo(f"{prefix}{line}")


def _selector(job: Object) -> str:
    return f"{TRAINING_JOB_UID_LABEL}={job['metadata']['uid']}"
