"""``python -m mlinfra_operator``: runs the operator until SIGTERM; settings come from the environment."""

import asyncio
import logging
import os
import sys

import kopf

from mlinfra.errors import MlinfraError
from mlinfra.kube import ClusterConfig, ConfigError, KubernetesClient
from mlinfra_operator.handlers import operator_registry, operator_settings, quiet_logs
from mlinfra_operator.runtime.operator import Operator
from mlinfra_operator.settings import Settings

logger = logging.getLogger(__name__)


def main() -> int:
    """Run; the exit code is 0 after SIGTERM or SIGINT."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    quiet_logs()
    try:
        settings = Settings.of(os.environ)
        config = ClusterConfig.load()
    except (MlinfraError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return asyncio.run(operate(settings, config))


async def operate(settings: Settings, config: ClusterConfig) -> int:
    """Run the operator's own tasks beside kopf's; where one side ends, the other does."""
    async with KubernetesClient(config, user_agent="mlinfra-operator") as client:
        namespace = settings.watch_namespace
        operator = Operator(settings, client)
        await operator.prepare()
        stop = asyncio.Event()
        own = asyncio.create_task(operator.run(), name="operator")
        own.add_done_callback(lambda _: stop.set())
        try:
            await kopf.operator(
                registry=operator_registry(operator, config),
                settings=operator_settings(),
                liveness_endpoint=settings.liveness_endpoint,
                stop_flag=stop,
                clusterwide=namespace is None,
                namespaces=[namespace] if namespace is not None else [],
            )
        finally:
            await operator.aclose()
            # kopf has cancelled what our tasks started, so ours may have ended well by now.
            own.cancel()
            await asyncio.wait([own])
        if not own.cancelled() and (error := own.exception()) is not None:
            logger.error("the operator cannot go on", exc_info=error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
