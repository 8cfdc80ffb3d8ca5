"""What every pod of ours is given: restricted Pod Security, and one folder that can be written to. Pure."""

from typing import Any

from mlinfra.resources.names import SCRATCH_PATH

POD_SECURITY: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""Both are what restricted Pod Security asks for, and a root file system that nobody can write to."""
TERMINATION_LOG = f"{SCRATCH_PATH}/termination-log"
WRITABLE_FOLDERS = ("HOME", "TMPDIR")
"""Set to the scratch volume where the user does not set them."""
