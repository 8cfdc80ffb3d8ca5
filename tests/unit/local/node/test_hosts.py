"""Names of pods: a pod knows its own, and those of peers that have a hostname and a subdomain."""

from pathlib import Path
from typing import Any

from mlinfra.local.node.hosts import hostname_of, hosts_content, write_hosts


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team"}, "spec": spec}


FIRST = ("127.128.0.2", pod("job-0-abcde", hostname="job-0", subdomain="peers"))
SECOND = ("127.128.0.3", pod("job-1-fghij", hostname="job-1", subdomain="peers"))
OTHER = ("127.128.0.4", pod("web"))


def test_peers_find_each_other_and_nobody_else_has_a_name() -> None:
    assert hosts_content("127.0.0.1 localhost", FIRST, [FIRST, SECOND, OTHER]).splitlines() == [
        "127.0.0.1 localhost",
        "127.128.0.2 job-0.peers.team.svc.cluster.local job-0.peers.team job-0.peers job-0",
        "127.128.0.3 job-1.peers.team.svc.cluster.local job-1.peers.team job-1.peers",
    ]
    assert hosts_content("", OTHER, [OTHER]) == "127.128.0.4 web\n"


def test_a_host_name_is_cut_as_a_kubelet_cuts_it() -> None:
    assert hostname_of(pod("a" * 62 + "-bc")) == "a" * 62
    assert hostname_of(FIRST[1]) == "job-0"


def test_the_file_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    write_hosts(path, FIRST, [FIRST, SECOND])
    inode = path.stat().st_ino
    write_hosts(path, FIRST, [FIRST])
    assert path.stat().st_ino == inode
    assert "job-1" not in path.read_text()
    assert path.read_text().endswith("job-0.peers job-0\n")
