"""What a running operator tells Prometheus."""

from collections.abc import Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


async def scrape(address: str, wanted: Callable[[Sample], bool] = lambda _: True) -> list[Sample]:
    """The samples that an operator's ``/metrics`` has now; none where it does not answer in full.

    Args:
        address: ``host:port`` of the operator's metrics.
        wanted: which samples are returned.
    """
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            text = (await http.get(f"http://{address}/metrics")).text
        except httpx.TransportError:
            return []
    families = text_string_to_metric_families(text)
    return [sample for family in families for sample in family.samples if wanted(sample)]
