"""Where the online store is: a folder of this machine, or a Redis server."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlinfra.features.errors import FeatureStoreUnavailable
from mlinfra.features.online.backend import Backend
from mlinfra.features.online.lmdb_backend import LmdbBackend

ONLINE_STORE_URI_ENV = "MLINFRA_ONLINE_STORE_URI"
REDIS_SCHEMES = ("redis", "rediss", "unix")


def open_backend(location: str | Path) -> Backend:
    """The backend at a folder, a ``file://`` URI, or a ``redis://``, ``rediss://`` or ``unix://`` URI.

    Raises:
        FeatureStoreUnavailable: the location is of another kind.
    """
    if isinstance(location, Path) or "://" not in location:
        return LmdbBackend(Path(location))
    uri = urlsplit(location)
    if uri.scheme == "file" and uri.netloc in ("", "localhost"):
        return LmdbBackend(Path(url2pathname(uri.path)))
    if uri.scheme in REDIS_SCHEMES:
        try:
            from mlinfra.features.online.redis_backend import RedisBackend
        except ModuleNotFoundError as error:
            raise FeatureStoreUnavailable(
                "an online store in Redis needs the package redis: pip install 'mlinfra[redis]'"
            ) from error
        return RedisBackend(location)
    raise FeatureStoreUnavailable(
        f"online store {uri.scheme}://...: give a folder, file:///absolute/path, or redis://host:port/database"
    )
