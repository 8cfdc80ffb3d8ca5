"""The client of a replay: asks the model's server about rows, and tells it labels.

Each row has an ID of its own, so a request may be sent again after a connection was lost: what the server
knows counts once.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import httpx
import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import MlinfraError

RETRY_SECONDS = 0.2
TOLD_CHARACTERS = 300
NOT_FOUND, TOO_MANY_REQUESTS = 404, 429


class ReplayError(MlinfraError):
    """A replay cannot go on."""

    reason: ClassVar[str] = "ReplayFailed"


@dataclass(frozen=True, slots=True)
class Questions:
    """All that may be asked, and what will turn out to be true.

    Attributes:
        windows: what the model is given, (rows, window, features).
        times: event time of each row.
        labels: class or value of each.
        prefix: of the IDs.
    """

    windows: NDArray[np.float32]
    times: Sequence[datetime]
    labels: Sequence[Any]
    prefix: str

    def id_of(self, row: int) -> str:
        """ID of a row's prediction."""
        return f"{self.prefix}-{row}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered about a row, and by which version."""

    version: str
    outputs: NDArray[np.float32]


class LiveTraffic:
    """Asks and tells, one request after the other.

    Args:
        client: to ask with; it keeps no connection, so each request goes where the Service leads by then.
        url: of the model, ``http://host:port/v2/models/name``.
        tensor: name of the model's input.
        questions: what to ask.
        patience: seconds after which a request that is not answered is given up.

    Attributes:
        answers: the first answer about each row, by position.
        failures: each request that failed.
        told: rows whose labels the server has taken.
        interrupted: whether one failed since `resumed` was last called.
    """

    def __init__(
        self, client: httpx.AsyncClient, url: str, tensor: str, questions: Questions, *, patience: float
    ) -> None:
        self._client, self._url, self._tensor = client, url, tensor
        self._questions = questions
        self._patience = patience
        self.answers: dict[int, Answer] = {}
        self.failures: list[str] = []
        self.told: set[int] = set()
        self.interrupted = False

    async def ask(self, row: int) -> Answer:
        """Ask about a row.

        Raises:
            ReplayError: the server refuses it, or does not answer for all of the patience.
        """
        questions = self._questions
        window = questions.windows[row : row + 1]
        body = {
            "id": questions.id_of(row),
            "parameters": {"event_timestamp": questions.times[row].isoformat()},
            "inputs": [
                {
                    "name": self._tensor,
                    "shape": list(window.shape),
                    "datatype": "FP32",
                    "data": window.ravel().tolist(),
                }
            ],
        }
        told = await self._post("infer", body)
        answer = Answer(str(told["model_version"]), np.array(told["outputs"][0]["data"], np.float32))
        self.answers.setdefault(row, answer)
        return answer

    async def tell(self, rows: Sequence[int]) -> None:
        """Tell the labels of rows; a prediction that the server has lost is asked for again first.

        Raises:
            ReplayError: as `ask`, or the server knows another label of a row.
        """
        questions = self._questions
        wanted = {questions.id_of(row): row for row in rows}
        while wanted:
            body = [{"id": one, "label": questions.labels[row]} for one, row in wanted.items()]
            told = await self._post("feedback", body)
            if told["conflicting"]:
                raise ReplayError(f"the server has other labels of {', '.join(told['conflicting'])}")
            unknown = {one: row for one, row in wanted.items() if one in set(told["unknown"])}
            self.told |= {row for one, row in wanted.items() if one not in unknown}
            if unknown:
                self._failed(f"feedback: the predictions {', '.join(unknown)} are not known any more")
                for row in unknown.values():
                    await self.ask(row)
            wanted = unknown

    def resumed(self) -> None:
        """What was lost is sent again."""
        self.interrupted = False

    async def _post(self, route: str, body: Any) -> Mapping[str, Any]:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = await self._client.post(f"{self._url}/{route}", json=body)
                if answer.is_success or (answer.status_code == NOT_FOUND and "unknown" in answer.json()):
                    found: Mapping[str, Any] = answer.json()
                    return found
                problem = f"{route}: HTTP {answer.status_code}: {answer.text[:TOLD_CHARACTERS]}"
                final = answer.is_client_error and answer.status_code != TOO_MANY_REQUESTS
            except (httpx.TransportError, ValueError) as error:
                problem, final = f"{route}: {str(error) or type(error).__name__}", False
            self._failed(problem)
            if final or time.monotonic() > deadline:
                raise ReplayError(f"{self._url} does not answer: {problem}")
            await asyncio.sleep(RETRY_SECONDS)

    def _failed(self, problem: str) -> None:
        self.failures.append(problem)
        self.interrupted = True
