#!/bin/bash
# Render, finish and pretrain: three jobs, each of which waits for the one before to succeed.
#
#   RECIPE=mine.yaml MODEL=smile-vit-b STORE=/shared/mine.zarr RUN=/shared/runs/b TASKS=16 bash submit.sh
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export RECIPE=${RECIPE:-mine.yaml} MODEL=${MODEL:-smile-vit-b}
export STORE=${STORE:-/shared/mine.zarr} RUN=${RUN:-/shared/runs/first}
tasks=${TASKS:-16}

render=$(sbatch --parsable --array="0-$((tasks - 1))" "$here/render.sbatch")
finish=$(sbatch --parsable --dependency="afterok:$render" --kill-on-invalid-dep=yes "$here/finish.sbatch")
pretrain=$(sbatch --parsable --dependency="afterok:$finish" --kill-on-invalid-dep=yes "$here/pretrain.sbatch")
echo "render $render, finish $finish, pretrain $pretrain"
