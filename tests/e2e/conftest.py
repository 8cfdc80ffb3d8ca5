"""One platform for all of these tests, with the S&P 500's features in its store."""

from collections.abc import Iterator

import pytest
from e2e.driver import Platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("platform"))
    try:
        platform.mlinfra("up")
        platform.mlinfra("datasets", "write", "sp500", "--store", str(platform.feature_store))
        yield platform
    finally:
        platform.mlinfra("down", "--delete")
