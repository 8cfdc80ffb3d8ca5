"""Another model takes the place of the one that answers, and no request fails."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import onnx
from integration.serving.conftest import Start
from servers.model_server import ModelServer, linear_model

from mlinfra.serving.model_source import ModelSource
from mlinfra.tracking.tracker import MlflowTracker

INFER = "/v2/models/adder/infer"
CLIENTS = 4
REQUESTS_BEFORE_AND_AFTER = 50
BODY = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}


class Traffic:
    """What clients got that never pause."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.failures: list[str] = []
        self.answered = threading.Condition()
        self.ended = threading.Event()

    def wait_for(self, count: int) -> None:
        """Until so many more answers came."""
        with self.answered:
            wanted = len(self.values) + count
            assert self.answered.wait_for(lambda: len(self.values) >= wanted or self.failures, timeout=30)

    def ask(self, url: str) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not self.ended.is_set():
                answer = client.post(INFER, json=BODY)
                with self.answered:
                    if answer.status_code == 200:
                        self.values.append(answer.json()["outputs"][0]["data"][0])
                    else:
                        self.failures.append(answer.text)
                    self.answered.notify_all()


@contextmanager
def traffic(server: ModelServer) -> Iterator[Traffic]:
    running = Traffic()
    threads = [threading.Thread(target=running.ask, args=(server.url,)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        running.ended.set()
        for thread in threads:
            thread.join()


def swap(server: ModelServer, model: Path, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v2/models/adder/swap", json={"model": str(model), **more}, timeout=30)


def test_a_swap_under_load_fails_no_request(start_server: Start, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    old, new = linear_model(tmp_path / "adder.onnx"), linear_model(tmp_path / "new" / "adder.onnx", bias=100)
    server = start_server(MLINFRA_SERVED_MODEL=str(old))
    with traffic(server) as running:
        for model in (new, old, new):
            running.wait_for(REQUESTS_BEFORE_AND_AFTER)
            assert swap(server, model).json()["changed"]
        running.wait_for(REQUESTS_BEFORE_AND_AFTER)
    assert running.failures == []
    assert set(running.values) == {6.0, 106.0}
    assert running.values[-1] == 106.0


def test_what_cannot_be_served_leaves_the_old_model(start_server: Start, tmp_path: Path) -> None:
    for folder in ("wide", "bad", "other"):
        (tmp_path / folder).mkdir()
    model = linear_model(tmp_path / "adder.onnx")
    server = start_server(MLINFRA_SERVED_MODEL=str(model))
    bad = tmp_path / "bad" / "adder.onnx"
    bad.write_bytes(b"no ONNX")
    wide = linear_model(tmp_path / "wide" / "adder.onnx", features=4)
    other = linear_model(tmp_path / "other" / "sum.onnx")
    for path, status, reason in (
        (bad, 422, "UnusableModel"),
        (tmp_path / "none.onnx", 422, "UnusableModel"),
        (tmp_path / "none\0.onnx", 422, "UnusableModel"),
        (other, 422, "UnusableModel"),
        (wide, 409, "OtherSchema"),
    ):
        answer = swap(server, path)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert swap(server, model, digest="sha256:00").status_code == 422
    assert not swap(server, model).json()["changed"]
    assert httpx.post(server.url + INFER, json=BODY).json()["outputs"][0]["data"] == [6.0]
    assert swap(server, wide, other_schema=True).json()["changed"]
    assert httpx.post(server.url + INFER, json=BODY).status_code == 400


def test_approved_digests_alone_are_served(start_server: Start, tmp_path: Path) -> None:
    model = linear_model(tmp_path / "adder.onnx")
    server = start_server(
        wait_until_ready=False, MLINFRA_SERVED_MODEL=str(model), MLINFRA_SERVED_DIGEST="sha256:" + "0" * 64
    )
    assert server.ended() == 78


def test_sigterm_answers_what_was_asked(start_server: Start, tmp_path: Path) -> None:
    server = start_server(
        MLINFRA_SERVED_MODEL=str(linear_model(tmp_path / "adder.onnx")), MLINFRA_SERVING_DRAIN_SECONDS="1"
    )
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/v2/health/ready").status_code == 200
        assert server.process is not None
        server.process.terminate()
        answers = []
        while len(answers) < 1 or answers[-1].status_code != 503:
            answers.append(client.get("/v2/health/ready"))
        answer = client.post(INFER, json=BODY)
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
    assert server.ended() == 0


def registered(folder: Path, *biases: float) -> tuple[str, MlflowTracker, list[str]]:
    """An MLflow whose model ``adder`` has a version for each bias, the first one live; and their digests."""
    uri = f"sqlite:///{folder}/mlflow.db"
    tracker = MlflowTracker(uri)
    tracker.client.create_experiment("adder", artifact_location=str(folder / "artifacts"))
    digests = []
    with MlflowTracker(uri, experiment_name="adder") as tracker:
        tracker.start_run()
        for bias in biases:
            model = onnx.load(linear_model(folder / "adder.onnx", bias=bias))
            tracker.register_model(tracker.log_model(model, "adder"), "adder")
            digests.append(ModelSource(f"models:/adder/{len(digests) + 1}", tracking_uri=uri).fetch().sha256)
    tracker.client.set_registered_model_alias("adder", "live", "1")
    return uri, tracker, digests


def follow_problem(server: ModelServer, *, there: bool) -> str:
    """Why the newest version is not served, once there is a reason, or none any more."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        told = str(httpx.get(f"{server.url}/v2/models/adder").json()["properties"].get("follow_problem", ""))
        if bool(told) == there:
            return told
        time.sleep(0.05)
    raise AssertionError(f"still told: {told!r}")


def answer_of(server: ModelServer) -> float:
    return float(httpx.post(server.url + INFER, json=BODY).json()["outputs"][0]["data"][0])


def test_who_follows_an_alias_serves_its_new_version_and_ends_on_sigterm(
    start_server: Start, tmp_path: Path
) -> None:
    uri, tracker, _ = registered(tmp_path, 0.0, 10.0)
    server = start_server(
        MLINFRA_SERVED_MODEL="models:/adder@live",
        MLFLOW_TRACKING_URI=uri,
        MLINFRA_SERVING_FOLLOW_SECONDS="0.1",
    )
    with traffic(server) as running:
        running.wait_for(REQUESTS_BEFORE_AND_AFTER)
        tracker.client.set_registered_model_alias("adder", "live", "2")
        deadline = time.monotonic() + 60
        while running.values[-1] != 16.0 and time.monotonic() < deadline:
            running.wait_for(1)
    assert not running.failures
    assert set(running.values) == {6.0, 16.0}
    assert server.stop() == 0


def test_a_digest_is_held_where_an_alias_is_followed(start_server: Start, tmp_path: Path) -> None:
    uri, tracker, digests = registered(tmp_path, 0.0, 10.0)
    server = start_server(
        MLINFRA_SERVED_MODEL="models:/adder@live",
        MLINFRA_SERVED_DIGEST=digests[0],
        MLFLOW_TRACKING_URI=uri,
        MLINFRA_SERVING_FOLLOW_SECONDS="0.1",
    )
    tracker.client.set_registered_model_alias("adder", "live", "2")
    assert f"{digests[1]}, and {digests[0]} was approved" in follow_problem(server, there=True)
    assert "cannot be followed" in server.log.read_text()
    assert answer_of(server) == 6.0
    tracker.client.set_registered_model_alias("adder", "live", "1")
    follow_problem(server, there=False)


class NothingHere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)


def test_who_follows_an_alias_goes_on_where_its_files_cannot_be_read(
    start_server: Start, tmp_path: Path
) -> None:
    uri, tracker, _ = registered(tmp_path, 0.0, 10.0)
    files = ThreadingHTTPServer(("127.0.0.1", 0), NothingHere)
    threading.Thread(target=files.serve_forever, daemon=True).start()
    lost = tracker.client.create_model_version(
        "adder", f"http://127.0.0.1:{files.server_port}/api/2.0/mlflow-artifacts/artifacts/lost"
    ).version
    server = start_server(
        MLINFRA_SERVED_MODEL="models:/adder@live",
        MLFLOW_TRACKING_URI=uri,
        MLINFRA_SERVING_FOLLOW_SECONDS="0.1",
    )
    try:
        tracker.client.set_registered_model_alias("adder", "live", lost)
        assert "cannot be read: HTTPError" in follow_problem(server, there=True)
        assert answer_of(server) == 6.0
        tracker.client.set_registered_model_alias("adder", "live", "2")
        follow_problem(server, there=False)
        assert answer_of(server) == 16.0
    finally:
        files.shutdown()
        files.server_close()


def test_what_can_never_be_served_ends_with_a_reason(start_server: Start, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no ONNX")
    log = tmp_path / "termination"
    server = start_server(
        wait_until_ready=False, MLINFRA_SERVED_MODEL=str(bad), MLINFRA_TERMINATION_LOG=str(log)
    )
    assert server.ended() == 78
    assert '"reason": "UnusableModel"' in log.read_text()
