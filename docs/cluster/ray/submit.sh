#!/bin/bash
# Render on a Ray cluster: one task a shard, one core a task. Nodes may come and go; a lost shard is built by another.
#
#   RAY_API_SERVER_ADDRESS=http://head:8265 RECIPE=mine.yaml STORE=/shared/mine.zarr bash submit.sh
#
# Every node has the same smile-synth (with the extra [ray]), sees STORE under the same path or is given s3://, and the
# images that the recipe names. The command runs on the head; run it again to resume.
set -euo pipefail
RECIPE=${RECIPE:-mine.yaml}
STORE=${STORE:-/shared/mine.zarr}

ray job submit --working-dir "$(dirname "$RECIPE")" -- \
    smile-synth render "$(basename "$RECIPE")" --out "$STORE" --engine ray
