"""Whatever is written, read and reopened in whatever order, the store equals a plain dictionary."""

import tempfile
from pathlib import Path

from hypothesis import settings
from oracles.online_model import OnlineMachine

from mlinfra.features import FeatureStore


class LmdbMachine(OnlineMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()

    def open_store(self) -> FeatureStore:
        return FeatureStore(Path(self.folder.name), clock=self.clock)

    def teardown(self) -> None:
        self.folder.cleanup()


TestLmdb = LmdbMachine.TestCase
TestLmdb.settings = settings(max_examples=40, stateful_step_count=25)
