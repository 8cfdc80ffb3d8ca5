"""The routes of the Open Inference Protocol, of administration and of metrics."""

from collections.abc import Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.routing import Route, Router

from mlinfra import __version__
from mlinfra.serving.calls import BINARY, Answer, Arriving, Call, Endpoint, Handler, Limits, json_answer
from mlinfra.serving.errors import ForbiddenError, InvalidRequestError
from mlinfra.serving.feedback_route import FeedbackRoute
from mlinfra.serving.infer_protocol import (
    EXTENSIONS,
    PLATFORM,
    SERVER_NAME,
    decode_request,
    encode_answer,
    read_object,
    told_id,
)
from mlinfra.serving.monitoring_route import MonitoringRoute
from mlinfra.serving.prediction_route import Predictions
from mlinfra.serving.server import ModelServer

BODIES_AT_ONCE = 16
"""As many of the largest bodies may arrive at once; small ones by the thousand."""
HEADER_LENGTH = b"inference-header-content-length"
MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"


def application(server: ModelServer) -> Router:
    """The ASGI application of a server."""
    settings = server.settings
    arriving = Arriving(BODIES_AT_ONCE * settings.max_body_bytes)
    limits = Limits(settings.max_body_bytes, arriving, settings.body_seconds, settings.token)
    routes, predictions = Routes(server), Predictions(server)

    def route(path: str, name: str, handle: Handler, *methods: str, guarded: bool = True) -> Route:
        endpoint = Endpoint(
            name,
            handle,
            limits=limits,
            metrics=server.metrics,
            closing=lambda: server.draining,
            guarded=guarded,
        )
        return Route(path, endpoint, methods=methods)

    def both(suffix: str, name: str, handle: Handler, method: str) -> Sequence[Route]:
        return [route(path + suffix, name, handle, method) for path in (MODEL, VERSION)]

    return Router(
        routes=[
            *both("/infer", "infer", routes.infer, "POST"),
            *both("/predict", "predict", predictions.predict, "POST"),
            route(MODEL + "/feedback", "feedback", FeedbackRoute(server).feedback, "POST"),
            route(MODEL + "/monitoring", "monitoring", MonitoringRoute(server).check, "POST"),
            route("/v2/health/live", "live", routes.live, "GET", guarded=False),
            route("/v2/health/ready", "ready", routes.ready, "GET", guarded=False),
            *both("/ready", "model_ready", routes.model_ready, "GET"),
            *both("", "model", routes.model, "GET"),
            route("/v2", "server", routes.server, "GET"),
            route(MODEL + "/swap", "swap", routes.swap, "POST"),
            route("/metrics", "metrics", routes.metrics, "GET"),
        ]
    )


class Routes:
    """What each route answers."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def infer(self, call: Call) -> Answer:
        """``POST .../infer``: the model's outputs for given tensors."""
        model = self._server.asked_for(call.path)
        body = await call.body()
        request = decode_request(body, call.number(HEADER_LENGTH), model.inputs, model.outputs)
        observed = await self._server.predict(
            model,
            request.inputs,
            request.rows,
            id=request.id,
            event_time=request.event_time,
            checksum=request.checksum,
        )
        head: dict[str, Any] = {
            "model_name": model.file.name,
            "model_version": model.file.version,
        } | told_id(request.id, observed.id)
        content, header_length = encode_answer(head, model.outputs, observed.outputs, request.wanted)
        if header_length is None:
            return Answer(content)
        length = (b"inference-header-content-length", str(header_length).encode())
        return Answer(content, content_type=BINARY, headers=[length])

    async def live(self, _: Call) -> Answer:
        """``GET /v2/health/live``: the process answers."""
        return json_answer({"live": True})

    async def ready(self, _: Call) -> Answer:
        """``GET /v2/health/ready``: requests are welcome."""
        ready = self._server.ready
        return json_answer({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, call: Call) -> Answer:
        """``GET .../ready``: this model, in this version, is served."""
        file = self._server.asked_for(call.path).file
        ready = self._server.ready
        return json_answer({"name": file.name, "ready": ready}, 200 if ready else 503)

    async def model(self, call: Call) -> Answer:
        """``GET /v2/models/{model}``: what the model reads and answers."""
        model = self._server.asked_for(call.path)
        return json_answer(
            {
                "name": model.file.name,
                "versions": [model.file.version],
                "platform": PLATFORM,
                "inputs": [spec.to_wire() for spec in model.inputs],
                "outputs": [spec.to_wire() for spec in model.outputs],
                "properties": self._server.told(),
            }
        )

    async def server(self, _: Call) -> Answer:
        """``GET /v2``: what the server is."""
        return json_answer({"name": SERVER_NAME, "version": __version__, "extensions": EXTENSIONS})

    async def swap(self, call: Call) -> Answer:
        """``POST .../swap``: ``{"model": "models:/name/3", "digest": "sha256:..."}``."""
        if not call.has_token() and not (self._server.settings.token is None and call.from_this_machine):
            raise ForbiddenError("a swap is asked for from this machine, or with the server's token")
        self._server.asked_for(call.path)
        asked = read_object(await call.body())
        uri, digest, other = asked.get("model"), asked.get("digest"), asked.get("other_schema", False)
        if not isinstance(uri, str) or not isinstance(digest, str | None) or not isinstance(other, bool):
            raise InvalidRequestError(
                'a swap is {"model": "models:/<name>/<version>"}, with "digest" and "other_schema": true if '
                "need be"
            )
        if self._server.settings.digest is not None and digest is None:
            raise InvalidRequestError("this server serves approved digests only: give the digest as well")
        done = await self._server.swap(uri, digest=digest, other_schema=other)
        return json_answer({"before": done.before, "after": done.after, "changed": done.changed})

    async def metrics(self, _: Call) -> Answer:
        """``GET /metrics``."""
        return Answer(self._server.metrics.text(), content_type=CONTENT_TYPE_LATEST.encode())
