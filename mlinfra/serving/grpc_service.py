"""The calls of the Open Inference Protocol over gRPC, beside those of HTTP and through the same server."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import orjson
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from mlinfra import __version__
from mlinfra.serving.calls import is_token
from mlinfra.serving.errors import InvalidRequestError, RequestError, UnauthorizedError
from mlinfra.serving.grpc_protocol import decode_message, encode_message
from mlinfra.serving.infer_protocol import EXTENSIONS, PLATFORM, SERVER_NAME, told_id
from mlinfra.serving.open_inference import open_inference_pb2 as messages
from mlinfra.serving.server import ModelServer
from mlinfra.serving.tensors import TensorSpec

logger = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
REASON = "reason"
"""The trailing metadata that hold an error's reason for machines."""
STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""Of the errors that these calls have, by their HTTP status."""

Handle = Callable[[Any], Awaitable[Any]]


class GrpcService:
    """What each call answers."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def server_live(self, _: messages.ServerLiveRequest) -> messages.ServerLiveResponse:
        """The process answers."""
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, _: messages.ServerReadyRequest) -> messages.ServerReadyResponse:
        """Requests are welcome."""
        return messages.ServerReadyResponse(ready=self._server.ready)

    async def model_ready(self, request: messages.ModelReadyRequest) -> messages.ModelReadyResponse:
        """This model, in this version, is served."""
        self._server.asked_for(_path(request.name, request.version))
        return messages.ModelReadyResponse(ready=self._server.ready)

    async def server_metadata(self, _: messages.ServerMetadataRequest) -> messages.ServerMetadataResponse:
        """What the server is."""
        return messages.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=EXTENSIONS)

    async def model_metadata(self, request: messages.ModelMetadataRequest) -> messages.ModelMetadataResponse:
        """What the model reads and answers."""
        model = self._server.asked_for(_path(request.name, request.version))
        return messages.ModelMetadataResponse(
            name=model.file.name,
            versions=[model.file.version],
            platform=PLATFORM,
            inputs=[_metadata(spec) for spec in model.inputs],
            outputs=[_metadata(spec) for spec in model.outputs],
            properties={
                name: value if isinstance(value, str) else orjson.dumps(value).decode()
                for name, value in self._server.told().items()
            },
        )

    async def model_infer(self, message: messages.ModelInferRequest) -> messages.ModelInferResponse:
        """The model's outputs for given tensors, in the encoding that those have."""
        model = self._server.asked_for(_path(message.model_name, message.model_version))
        request = decode_message(message, model.inputs, model.outputs)
        observed = await self._server.predict(
            model,
            request.inputs,
            request.rows,
            id=request.id,
            event_time=request.event_time,
            checksum=request.checksum,
        )
        return encode_message(
            model.file.name,
            model.file.version,
            told_id(request.id, observed.id),
            model.outputs,
            observed.outputs,
            request.wanted,
            raw=bool(message.raw_input_contents),
        )


def grpc_server(server: ModelServer, *, grace_seconds: float) -> grpc.aio.Server:
    """The gRPC server of a model server; it listens nowhere yet.

    Args:
        server: what answers.
        grace_seconds: for calls that are being answered when their connection, at its age, ends.
    """
    settings = server.settings
    age = int(settings.connection_seconds * 1000)
    options = [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        # By default two servers would share a port that both were given.
        ("grpc.so_reuseport", 0),
    ]
    if age:
        options += [
            ("grpc.max_connection_age_ms", age),
            ("grpc.max_connection_age_grace_ms", int(grace_seconds * 1000)),
        ]
    service = GrpcService(server)
    listening = grpc.aio.server(options=options)
    calls: Mapping[str, tuple[Handle, Any, bool]] = {
        "ServerLive": (service.server_live, messages.ServerLiveRequest, False),
        "ServerReady": (service.server_ready, messages.ServerReadyRequest, False),
        "ModelReady": (service.model_ready, messages.ModelReadyRequest, True),
        "ServerMetadata": (service.server_metadata, messages.ServerMetadataRequest, True),
        "ModelMetadata": (service.model_metadata, messages.ModelMetadataRequest, True),
        "ModelInfer": (service.model_infer, messages.ModelInferRequest, True),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _call(server, name, request, handle, guarded=guarded),
            response_serializer=lambda answer: answer.SerializeToString(),
        )
        for name, (handle, request, guarded) in calls.items()
    }
    listening.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    return listening


def _call(
    server: ModelServer, name: str, kind: Any, handle: Handle, *, guarded: bool
) -> Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]:
    """One call: its token, its error as a status, its outcome counted."""
    token = server.settings.token
    route = f"grpc:{name}"
    metrics = server.metrics
    seconds, ok = metrics.request_seconds.labels(route), metrics.requests.labels(route, "OK")

    async def call(content: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        started = time.perf_counter()
        try:
            if guarded and token is not None and not is_token(_authorization(context), token):
                raise UnauthorizedError("the call needs the metadata authorization: Bearer <token>")
            answer = await handle(_read(kind, content))
            ok.inc()
            return answer
        except RequestError as error:
            status, message, reason = STATUS[error.status], str(error), error.reason
        except Exception:
            logger.exception("%s failed", route)
            status, message = grpc.StatusCode.INTERNAL, "the server failed; its log tells more"
            reason = "Internal"
        finally:
            seconds.observe(time.perf_counter() - started)
        metrics.requests.labels(route, status.name).inc()
        await context.abort(status, message, ((REASON, reason),))

    return call


def _read(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise InvalidRequestError(f"the message is no {kind.DESCRIPTOR.full_name}") from error


def _authorization(context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, bytes) else value.encode()
    return b""


def _path(name: str, version: str) -> Mapping[str, str]:
    return {"model": name, "version": version} if version else {"model": name}


def _metadata(spec: TensorSpec) -> messages.ModelMetadataResponse.TensorMetadata:
    return messages.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )
