"""kopf's connection, with the same configuration and trust as the operator's own client."""

import aiohttp
import kopf
from aiohttp.client_middlewares import ClientHandlerType

from mlinfra.kube import ClusterConfig


def connection(config: ClusterConfig) -> kopf.AiohttpSession:
    """A session that reads the token anew for each request: a kubelet replaces it before it expires."""

    async def authorize(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        token = config.token()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return await handler(request)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=config.ssl_context),
        middlewares=(authorize,),
        trust_env=False,
    )
    return kopf.AiohttpSession(
        server=config.server, aiohttp_session=session, default_namespace=config.namespace
    )
