"""Which spec a child Job was made of. Pure.

What may change while a training is suspended reaches its pods by a new Job. A suspension that is over before
the operator looks leaves the old one: by its stamp it is known.
"""

import hashlib
import json

from pydantic.alias_generators import to_camel

from mlinfra.resources import TrainingJob
from mlinfra.resources.training_job import MUTABLE_WHILE_SUSPENDED

FIELDS = tuple(to_camel(field) for field in MUTABLE_WHILE_SUSPENDED)


def stamp_of(job: TrainingJob) -> str:
    """The generation, and a digest of what may change while suspended: ``3-0123456789abcdef``."""
    return f"{job.metadata.generation}-{_digest(job)}"


def is_outdated(job: TrainingJob, stamp: str | None) -> bool:
    """Whether a Job of this stamp was made of an older spec that gave its pods something else.

    A Job without a stamp, as an earlier operator made it, counts as made of the same. What an operator
    knows of a TrainingJob may be older than the Job that another one made.
    """
    generation, _, digest = (stamp or "").partition("-")
    if not generation.isdecimal() or int(generation) >= job.metadata.generation:
        return False
    return digest != _digest(job)


def _digest(job: TrainingJob) -> str:
    spec = job.spec.to_wire()
    fields = {field: spec[field] for field in FIELDS if spec.get(field) not in (None, {}, [])}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
