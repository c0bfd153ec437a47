"""Make the Python stubs of the gRPC contract: ``python proto/generate.py [FOLDER]``.

Stubs are committed, so that a node runs without a compiler; a test fails when they are stale.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
CONTRACT = sorted(HERE.glob("bulkhead/v1/*.proto"))


def generate(folder: Path) -> None:
    """Write the stubs below ``folder``; raises RuntimeError if the contract does not compile."""
    folder.mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={HERE}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
            f"--grpc_python_out={folder}",
            *map(str, CONTRACT),
        ]
    )
    if status:
        raise RuntimeError(f"protoc ended with {status}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "python")
