"""What a model's monitors say: ``POST /v2/models/{model}/monitoring``."""

import asyncio

from mlinfra.errors import MlinfraError
from mlinfra.serving.calls import Answer, Call, json_answer
from mlinfra.serving.errors import InvalidRequestError, RequestError, StoreUnavailableError
from mlinfra.serving.infer_protocol import event_time, read_object
from mlinfra.serving.model_monitors import policies_of
from mlinfra.serving.server import ModelServer


class MonitoringRoute:
    """Checks what was counted."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def check(self, call: Call) -> Answer:
        """``POST .../monitoring``: ``{"drift": {...}, "performance": {...}, "now": "..."}``.

        The policies are those of a RetrainingPolicy; without ``now`` the check is of the newest prediction.
        """
        server = self._server
        model = server.asked_for(call.path)
        body = read_object(await call.body())
        unknown = set(body) - {"drift", "performance", "now"}
        if unknown:
            raise InvalidRequestError(f"a check has drift, performance and now, not {sorted(unknown)!r:.200}")
        drift, performance = policies_of(body)
        now = event_time(body.get("now"))
        monitors = server.observing.monitors
        check = server.observer.call(lambda: monitors.check(model, drift, performance, now))
        try:
            report = await asyncio.wrap_future(check)
        except RequestError:
            raise
        except MlinfraError as error:
            raise StoreUnavailableError(str(error)) from error
        server.metrics.monitoring.tell(report)
        return json_answer(report.to_wire())
