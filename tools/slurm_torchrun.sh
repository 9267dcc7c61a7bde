#!/usr/bin/env bash
# Train on a Slurm cluster with restarts: tools/slurm_torchrun.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of train.py]
# On each node an agent of torchrun restarts processes that end. If an agent ends, all are started again; if the node or
# the place in the queue is lost, Slurm queues the job again. Each time the training resumes.
# Environment: NODES (2), GPUS_PER_NODE (8), CPUS_PER_TASK (40, of a node), RESTARTS (3), PORT (29400), SBATCH_ARGS.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of train.py]" >&2; exit 2; }
PARTITION=$1 JOB_NAME=$2 CONFIG=$3 WORK_DIR=$4
shift 4
NODES=${NODES:-2} GPUS_PER_NODE=${GPUS_PER_NODE:-8} CPUS_PER_TASK=${CPUS_PER_TASK:-40} RESTARTS=${RESTARTS:-3}
PYTHON=${PYTHON:-python}
AGENT=$(printf '%q ' "$PYTHON" -m torch.distributed.run --nnodes="$NODES" --nproc-per-node="$GPUS_PER_NODE" \
    --max-restarts="$RESTARTS" --rdzv-backend=c10d)
TRAINING=$(printf '%q ' "$(dirname "$0")/train.py" "$CONFIG" --work-dir "$WORK_DIR" --launcher pytorch --resume "$@")
# srun does not take over the cores of sbatch by itself (Slurm 22.05 and newer).
# shellcheck disable=SC2086  # SBATCH_ARGS holds several words
exec sbatch -p "$PARTITION" --job-name="$JOB_NAME" --nodes="$NODES" --ntasks-per-node=1 \
    --gres=gpu:"$GPUS_PER_NODE" --cpus-per-task="$CPUS_PER_TASK" --requeue --open-mode=append ${SBATCH_ARGS:-} \
    --wrap "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
host=\$(scontrol show hostname \"\$SLURM_NODELIST\" | head -n1)
for attempt in \$(seq 0 $RESTARTS); do
    srun --ntasks=$NODES --ntasks-per-node=1 --cpus-per-task=$CPUS_PER_TASK --kill-on-bad-exit=1 \\
        ${AGENT}--rdzv-id=\"\$SLURM_JOB_ID.\$attempt\" --rdzv-endpoint=\"\$host:${PORT:-29400}\" \\
        ${TRAINING}&& exit 0
done
exit 1"
