"""The module of the protocol's messages, from its definition.

Usage: python -m mlinfra.serving.open_inference.generate [--check]

With ``--check`` it only tells whether the files are current.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

DEFINITION = "open_inference.proto"
FOLDER = Path(__file__).parent
SHARED_POOL = "_descriptor_pool.Default()"
OWN_POOL = "_descriptor_pool.DescriptorPool()"
"""Messages of a pool of their own: a process may hold a client's definition of the same messages as well."""


class GenerationError(RuntimeError):
    """The definition cannot be read, or protoc writes what this module does not know."""


def generated() -> Mapping[str, str]:
    """The text of each file by its name; needs grpcio-tools."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory(prefix="mlinfra-protoc-") as name:
        out = Path(name)
        argv = ["protoc", f"-I{FOLDER}", f"--python_out={out}", f"--pyi_out={out}", str(FOLDER / DEFINITION)]
        if protoc.main(argv) != 0:
            raise GenerationError(f"protoc cannot read {FOLDER / DEFINITION}")
        files = {path.name: path.read_text() for path in sorted(out.iterdir())}
    module = DEFINITION.replace(".proto", "_pb2.py")
    if files[module].count(SHARED_POOL) != 1:
        raise GenerationError(f"protoc no longer writes {SHARED_POOL} once into {module}")
    return files | {module: files[module].replace(SHARED_POOL, OWN_POOL)}


def stale(files: Mapping[str, str]) -> list[str]:
    """Names of the files that are not as they would be generated."""
    paths = {name: FOLDER / name for name in files}
    return [name for name, path in paths.items() if not path.exists() or path.read_text() != files[name]]


def main() -> int:
    """Write the files, or tell which are stale; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is stale")
    check = parser.parse_args().check
    files = generated()
    if check:
        for name in stale(files):
            print(f"{name} is stale; run python -m mlinfra.serving.open_inference.generate", file=sys.stderr)
        return int(bool(stale(files)))
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
