"""Where mounts cannot be made, their paths are replaced in arguments and variables."""

import re
from collections.abc import Mapping

BEFORE = r"(?:^|(?<=[=:,\s\"'])|(?<=//))"
AFTER = r"(?=$|[/:,\s\"'])"


def map_paths(text: str, folders: Mapping[str, str]) -> str:
    """Replace each mount path by its folder on this machine.

    A path counts where it begins the text or stands behind ``=``, ``:``, ``//``, a comma, a quote or a
    blank, and ends there too or goes on with a slash; the longest one wins.

    Args:
        text: an argument or the value of a variable.
        folders: folder on this machine by mount path.
    """
    if not folders:
        return text
    longest_first = sorted(folders, key=len, reverse=True)
    paths = "|".join(re.escape(path) for path in longest_first)
    return re.sub(f"{BEFORE}({paths}){AFTER}", lambda match: folders[match[1]], text)
