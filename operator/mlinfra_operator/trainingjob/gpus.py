"""How many GPUs a training asks for. Pure."""

import re

from mlinfra.resources.training_job import TrainingJobSpec

GPU_RESOURCE = re.compile(r"[^/]+/gpu|nvidia\.com/mig-.+")
"""Names that the vendors' device plugins offer: nvidia.com/gpu, amd.com/gpu, slices by MIG."""


def gpus_of(spec: TrainingJobSpec) -> int | None:
    """GPUs, or slices of them, of all pods together; None where there are none."""
    limits = (spec.resources_per_node.limits if spec.resources_per_node else None) or {}
    amounts = [str(amount) for name, amount in limits.items() if GPU_RESOURCE.fullmatch(name)]
    # A fraction of a device cannot be had: the API server refuses such a pod.
    total = sum(int(amount) for amount in amounts if amount.isdecimal()) * spec.num_nodes
    return total or None
