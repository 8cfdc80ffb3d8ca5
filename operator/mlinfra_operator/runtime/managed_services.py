"""One watch of all Services that the operator makes: of served models, and of pods that train together."""

from collections.abc import Callable

from mlinfra.kube import KubernetesClient
from mlinfra.kube.informer import Informer
from mlinfra.kube.pulse import Pulse
from mlinfra.kube.resource import SERVICES
from mlinfra.resources.names import MANAGED_LABEL, MODEL_LABEL, TRAINING_JOB_LABEL
from mlinfra_operator.runtime.cache import Object, lean


def watch_services(
    client: KubernetesClient,
    namespace: str | None,
    *,
    on_model_service_gone: Callable[[Object], None],
    on_peer_service_gone: Callable[[str, str], None],
    pulse: Pulse,
) -> Informer:
    """Services with our label, not yet watched.

    Args:
        client: client of the cluster.
        namespace: the only namespace to look at; all of them where absent.
        on_model_service_gone: called with each deleted Service of a model.
        on_peer_service_gone: called with namespace and name of the TrainingJob whose Service is deleted.
        pulse: of the watch.
    """

    def changed(change: str, obj: Object) -> None:
        labels = obj["metadata"]["labels"]
        if change != "DELETED":
            return
        if MODEL_LABEL in labels:
            on_model_service_gone(obj)
        elif TRAINING_JOB_LABEL in labels:
            on_peer_service_gone(obj["metadata"]["namespace"], labels[TRAINING_JOB_LABEL])

    return Informer(
        client,
        SERVICES,
        namespace=namespace,
        label_selector=f"{MANAGED_LABEL}=true",
        on_change=changed,
        pulse=pulse,
        keep=lean,
    )
