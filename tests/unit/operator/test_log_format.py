"""Log lines say what they are about, and hold no secrets."""

import contextvars
import json
import logging
import sys
from typing import Any

import pytest

from mlinfra_operator.runtime.logs import JsonFormatter, TextFormatter, about, masked

OBJECT = {"metadata": {"namespace": "team", "name": "a", "uid": "u1", "generation": 3}}


def record(message: str, *args: object, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("mlinfra_operator.test").makeRecord(
        "mlinfra_operator.test", logging.WARNING, "file.py", 1, message, args, None, extra=extra
    )


def about_the_object(formatter: logging.Formatter, line: logging.LogRecord) -> str:
    def tell() -> str:
        about("TrainingJob", "team", "a", OBJECT)
        return formatter.format(line)

    return contextvars.copy_context().run(tell)


def test_a_json_line_tells_of_its_object() -> None:
    line = json.loads(about_the_object(JsonFormatter(), record("%d pods\nfailed", 2)))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "mlinfra_operator.test",
        "message": "2 pods\nfailed",
        "kind": "TrainingJob",
        "namespace": "team",
        "name": "a",
        "uid": "u1",
        "generation": 3,
    }


def test_a_line_of_kopf_tells_of_the_object_that_kopf_names() -> None:
    reference = {"apiVersion": "v1", "kind": "ModelVersion", "name": "m-1", "uid": "u2", "namespace": "team"}
    line = json.loads(about_the_object(JsonFormatter(), record("seen", k8s_ref=reference)))
    assert (line["kind"], line["name"], line["uid"]) == ("ModelVersion", "m-1", "u2")
    assert "generation" not in line


def test_a_line_about_no_object_names_none_and_is_one_line_with_its_exception() -> None:
    line = record("lost")
    try:
        raise ValueError("https://user:secret@mlflow is away")
    except ValueError:
        line.exc_info = sys.exc_info()
    text = JsonFormatter().format(line)
    assert "\n" not in text
    assert "secret" not in text
    assert "ValueError" in json.loads(text)["exception"]
    assert "kind" not in json.loads(text)


def test_a_text_line_tells_of_its_object() -> None:
    line = about_the_object(TextFormatter(), record("failed"))
    assert line.endswith("WARNING mlinfra_operator.test: [TrainingJob team/a] failed")
    assert TextFormatter().format(record("failed")).endswith("test: failed")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer ey.J-a_b refused", "Authorization: Bearer *** refused"),
        ("at https://me:pa:ss@mlflow/x", "at https://me:***@mlflow/x"),
        ("at http://127.0.0.1:5000/x?a=b@c", "at http://127.0.0.1:5000/x?a=b@c"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': 'Bearer ***'}"),
        ("https://mlflow/#/experiments/1", "https://mlflow/#/experiments/1"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
