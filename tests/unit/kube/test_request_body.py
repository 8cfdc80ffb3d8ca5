"""What is sent: what others said must not keep a status from being written."""

import json

from mlinfra.kube.client import _encoded


def test_half_a_surrogate_pair_is_escaped() -> None:
    body = {"message": "\ud83d"}
    assert json.loads(_encoded(body)) == body
    assert json.loads(_encoded({"a": ["ü", 1, None]})) == {"a": ["ü", 1, None]}
