#!/bin/bash
# Generates the gRPC stubs and their type information from proto/ into proto/python/.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p proto/python
find proto/bulkhead -name '*.proto' -print0 | sort -z | xargs -0 \
    .venv/bin/python -m grpc_tools.protoc -I proto \
    --python_out=proto/python --pyi_out=proto/python --grpc_python_out=proto/python
