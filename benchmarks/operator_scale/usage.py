"""What a process used, and what was written through the API server."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx

from mlinfra.kube import ClusterConfig

REQUESTS = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
WRITES = ("POST", "PUT", "PATCH", "DELETE", "APPLY")
OWN_GROUP = "mlinfra.io"

Write = tuple[str, str, str]
"""Verb, group, and resource with its subresource."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process: CPU seconds since its start, and resident MiB, now and at most."""

    cpu_seconds: float
    resident_mib: float
    peak_mib: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        kib = {name: int(status[name].split()[0]) for name in ("VmRSS", "VmHWM")}
        return cls(ticks / os.sysconf("SC_CLK_TCK"), kib["VmRSS"] / 1024, kib["VmHWM"] / 1024)


async def writes(config: ClusterConfig) -> Counter[Write]:
    """All successful writes since the API server started."""
    async with httpx.AsyncClient(verify=config.ssl_context, trust_env=False, timeout=30.0) as http:
        answer = await http.get(f"{config.server}/metrics")
        answer.raise_for_status()
    return writes_in(answer.text)


def writes_in(exposition: str) -> Counter[Write]:
    """The writes that the API server's own metrics count."""
    counted: Counter[Write] = Counter()
    for match in REQUESTS.finditer(exposition):
        labels = dict(LABEL.findall(match["labels"]))
        if labels["verb"] in WRITES and labels["code"].startswith("2"):
            resource = "/".join(part for part in (labels["resource"], labels["subresource"]) if part)
            counted[labels["verb"], labels["group"], resource] += int(float(match["count"]))
    return counted


def operator_writes(before: Counter[Write], after: Counter[Write], *, created: int) -> int:
    """The operator's writes between two looks, Events and its lease aside.

    Nobody else writes our resources, and only the operator creates Jobs: the Job's controller changes them.

    Args:
        before, after: `writes` then and now.
        created: TrainingJobs that the benchmark created meanwhile.
    """
    new = after - before
    own = sum(count for (_, group, _), count in new.items() if group == OWN_GROUP)
    jobs = sum(new[verb, "batch", "jobs"] for verb in ("POST", "DELETE"))
    return own - created + jobs
