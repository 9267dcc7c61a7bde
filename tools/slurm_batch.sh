#!/usr/bin/env bash
# Videos and photos on a Slurm cluster: tools/slurm_batch.sh PARTITION JOB_NAME OUT INPUT [more inputs and options of
# ehrpose batch]. Each task of the array does a share of the items; submit it again to go on where it stopped.
# Environment: TASKS (8), CPUS_PER_TASK (4), SBATCH_ARGS.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME OUT INPUT [more inputs and options of ehrpose batch]" >&2; exit 2; }
PARTITION=$1 JOB_NAME=$2 OUT=$3
shift 3
TASKS=${TASKS:-8}
COMMAND=$(printf '%q ' "${PYTHON:-python}" -m ehrpose batch "$@" --out "$OUT")
# shellcheck disable=SC2086  # SBATCH_ARGS holds several words
exec sbatch -p "$PARTITION" --job-name="$JOB_NAME" --array="1-$TASKS" --cpus-per-task="${CPUS_PER_TASK:-4}" --requeue \
    ${SBATCH_ARGS:-} --wrap "exec $COMMAND --shard \$SLURM_ARRAY_TASK_ID/$TASKS"
