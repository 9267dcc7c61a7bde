#!/usr/bin/env bash
# Train in several processes on one or more machines: tools/dist_train.sh CONFIG PROCESSES [options of train.py]
# Environment: NNODES, NODE_RANK, MASTER_ADDR and PORT for more than one machine. Without CUDA they run on the CPU.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG PROCESSES [options of train.py]" >&2; exit 2; }
CONFIG=$1 PROCESSES=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$PROCESSES" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
