"""``python -m mlinfra_operator``: runs the operator until SIGTERM; settings come from the environment."""

import asyncio
import logging
import os
import sys
import time
from contextlib import AsyncExitStack

import kopf

from mlinfra.errors import MlinfraError
from mlinfra.event_loop import loop_factory
from mlinfra.kube import ClusterConfig, ConfigError, KubernetesClient
from mlinfra_operator.handlers import operator_registry, operator_settings
from mlinfra_operator.runtime.health import Health
from mlinfra_operator.runtime.health_server import HealthServer
from mlinfra_operator.runtime.logs import configure_logs
from mlinfra_operator.runtime.operator import Operator
from mlinfra_operator.settings import Settings

FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS = 1.0, 30.0
STEADY_SECONDS = 60.0
"""A life of so long was a good one: the next restart need not wait longer than the first."""
ENDING_SECONDS = 20.0
"""So long kopf may take to end after our own tasks have."""

logger = logging.getLogger(__name__)


def main() -> int:
    """Run; the exit code is 0 after SIGTERM or SIGINT.

    What ends the operator otherwise, such as a lost lease, lets it start over as a new process would.
    """
    try:
        settings = Settings.of(os.environ)
        config = ClusterConfig.load()
        configure_logs(settings.log_format)
        failures = 0
        while True:
            began = time.monotonic()
            pause = FIRST_RESTART_SECONDS * 2.0 ** (failures - 1) if failures else 0.0
            try:
                with asyncio.Runner(loop_factory=loop_factory()) as runner:
                    runner.run(live(settings, config, pause=min(pause, LONGEST_RESTART_SECONDS)))
            except MlinfraError:
                raise
            except Exception:
                logger.exception("the operator cannot go on, and starts over")
                failures = 1 if time.monotonic() - began > STEADY_SECONDS else failures + 1
            else:
                return 0
    except (MlinfraError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def live(settings: Settings, config: ClusterConfig, *, pause: float = 0.0) -> None:
    """Run the operator's own tasks beside kopf's; where one side ends, the other does.

    Args:
        settings: of the operator.
        config: the cluster, and who the operator is.
        pause: seconds to wait first; probes are answered meanwhile.
    """
    health = Health(settings.watch_silence)
    async with AsyncExitStack() as stack:
        if settings.health_address is not None:
            await stack.enter_async_context(HealthServer(settings.health_address, health))
        await asyncio.sleep(pause)
        client = await stack.enter_async_context(
            KubernetesClient(config, user_agent="mlinfra-operator", watch_silence=settings.watch_silence)
        )
        await _operate(settings, config, Operator(settings, client, health), health)


async def _operate(settings: Settings, config: ClusterConfig, operator: Operator, health: Health) -> None:
    namespace = settings.watch_namespace
    await operator.prepare()
    stop = asyncio.Event()
    own = asyncio.create_task(operator.run(), name="operator")
    own.add_done_callback(lambda _: stop.set())
    # A watch that is cancelled in the wrong moment goes on for ever, and kopf waits for it.
    loop, deadlines = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    own.add_done_callback(
        lambda _: deadlines.append(
            loop.call_later(ENDING_SECONDS, _end_at_once, "the operator does not come to its end")
        )
    )
    try:
        await kopf.operator(
            registry=operator_registry(operator, config, health),
            settings=operator_settings(settings.watch_silence),
            stop_flag=stop,
            clusterwide=namespace is None,
            namespaces=[namespace] if namespace is not None else [],
        )
    finally:
        for deadline in deadlines:
            deadline.cancel()
        # kopf has cancelled what our tasks started, so ours may have ended well by now.
        own.cancel()
        await asyncio.wait([own])
        if not await operator.aclose():
            # What a call would go on to ask for is no longer this replica's to do.
            _end_at_once("calls of MLflow still run")
    if not own.cancelled() and (error := own.exception()) is not None:
        raise error


def _end_at_once(why: str) -> None:
    logger.critical("%s: the process ends", why)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
