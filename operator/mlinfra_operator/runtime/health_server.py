"""Answers the kubelet's probes on the event loop: one that hangs answers nobody."""

from aiohttp import web

from mlinfra_operator.runtime.health import Health
from mlinfra_operator.settings import HEALTH_ADDRESS_ENV, SettingsError

LIVE_PATH, READY_PATH = "/healthz", "/readyz"
UNAVAILABLE = 503


class HealthServer:
    """HTTP at ``host:port``: ``/healthz`` for liveness and ``/readyz`` for readiness, as a context manager.

    Raises:
        SettingsError: the address cannot be had.
    """

    def __init__(self, address: str, health: Health) -> None:
        self._address = address
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._health = health
        app = web.Application()
        app.add_routes([web.get(LIVE_PATH, self._live), web.get(READY_PATH, self._ready)])
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> None:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise SettingsError(f"{HEALTH_ADDRESS_ENV}: {self._address} cannot be had: {error}") from error

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return _answer(self._health.dead())

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer(self._health.unready())


def _answer(reasons: list[str]) -> web.Response:
    if not reasons:
        return web.Response(text="ok\n")
    return web.Response(status=UNAVAILABLE, text="".join(f"{reason}\n" for reason in reasons))
