"""A server that is too busy is asked again when it says, whatever was asked."""

import json
import ssl

import pytest

from mlinfra.kube import ApiError, ClusterConfig, KubernetesClient, client
from mlinfra.kube.resource import JOBS
from mlinfra.kube.transport import Answer, Request

BUSY = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "later"}
JOB = {"metadata": {"name": "a"}}


class Server:
    """Gives its answers in turn, then the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def ask(self, request: Request) -> Answer:
        self.asked.append(request.method)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times that the client would sleep."""
    times: list[float] = []

    async def sleep(seconds: float) -> None:
        times.append(seconds)

    monkeypatch.setattr(client.asyncio, "sleep", sleep)
    return times


def client_of(server: Server) -> KubernetesClient:
    config = ClusterConfig("https://cluster", ssl.create_default_context())
    found = KubernetesClient(config)
    found._connections = server  # type: ignore[assignment]  # the part that is used
    return found


def busy(retry_after: str | None) -> Answer:
    headers = {"Retry-After": retry_after} if retry_after is not None else {}
    return Answer(429, headers, json.dumps(BUSY).encode())


async def test_it_is_asked_again_when_it_says(slept: list[float]) -> None:
    server = Server(busy("7"), busy(None), Answer(201, {}, json.dumps(JOB).encode()))
    async with client_of(server) as kube:
        assert await kube.create(JOBS, JOB, "team") == JOB
    assert slept == [7, 1]
    assert server.asked == ["POST"] * 3


async def test_it_is_not_waited_for_without_end(slept: list[float]) -> None:
    server = Server(busy("3600"))
    async with client_of(server) as kube:
        with pytest.raises(ApiError, match="later") as raised:
            await kube.get(JOBS, "a", "team")
    assert slept == [30, 30]
    assert (raised.value.status, raised.value.retry_after) == (429, 3600)


async def test_other_errors_are_told_at_once(slept: list[float]) -> None:
    server = Server(Answer(503, {"Retry-After": "2"}, b"no leader"))
    async with client_of(server) as kube:
        with pytest.raises(ApiError, match="no leader") as raised:
            await kube.get(JOBS, "a", "team")
    assert (slept, raised.value.retry_after) == ([], 2)
