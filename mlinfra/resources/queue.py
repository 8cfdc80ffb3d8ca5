"""The queue that a training waits in until there is room for it."""

from typing import Annotated

from pydantic import Field

from mlinfra.resources.base import ResourceModel

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
MAX_NAME_LENGTH = 63
"""Names travel as the values of labels."""


class Queue(ResourceModel):
    """A queue of Kueue, which starts and stops the training's pods."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_NAME_LENGTH,
            pattern=NAME_PATTERN,
            description="Name of the LocalQueue in the same namespace.",
        ),
    ]
    priority_class: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_NAME_LENGTH,
            pattern=NAME_PATTERN,
            description="WorkloadPriorityClass of the training in the queue; pods keep priorityClassName.",
        ),
    ] = None
