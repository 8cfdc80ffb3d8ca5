"""What a model's monitors say: ``POST /v2/models/{model}/monitoring``."""

import asyncio

from mlinfra.errors import MlinfraError
from mlinfra.resources.monitoring_sources import FeatureGroupSource
from mlinfra.serving.calls import Answer, Call, json_answer
from mlinfra.serving.errors import InvalidRequestError, RequestError, StoreUnavailableError
from mlinfra.serving.group_monitors import GroupCheck
from mlinfra.serving.infer_protocol import event_time, read_object
from mlinfra.serving.model_monitors import part_of, policies_of
from mlinfra.serving.server import ModelServer

PARTS = ("drift", "performance", "featureGroup", "now")


class MonitoringRoute:
    """Checks what was counted, or the rows of a feature group."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def check(self, call: Call) -> Answer:
        """``POST .../monitoring``: ``{"drift": {...}, "performance": {...}, "now": "..."}``.

        The policies are those of a RetrainingPolicy; without ``now`` the check is of the newest prediction.
        With ``featureGroup`` it is of that group's rows, and leaves the gauges of the predictions alone.
        """
        server = self._server
        model = server.asked_for(call.path)
        body = read_object(await call.body())
        unknown = set(body) - set(PARTS)
        if unknown:
            raise InvalidRequestError(f"a check has {', '.join(PARTS)}, not {sorted(unknown)!r:.200}")
        drift, performance = policies_of(body)
        now = event_time(body.get("now"))
        group = part_of(body, "featureGroup", FeatureGroupSource)
        if group is not None:
            check = server.group_monitors.ask(model, GroupCheck(group, drift, performance, now))
            return json_answer((await asyncio.shield(asyncio.wrap_future(check))).to_wire())
        try:
            report = await asyncio.wrap_future(server.observing.check(model, drift, performance, now))
        except RequestError:
            raise
        except MlinfraError as error:
            raise StoreUnavailableError(str(error)) from error
        server.metrics.monitoring.tell(report)
        return json_answer(report.to_wire())
