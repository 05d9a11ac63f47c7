#!/usr/bin/env bash
# Made by: lmtasks launch --dry_run --on=slurm --nodes=4 --gpus=8 --seeds=3 --config=sst2 --workdir=runs/sst2 --config.train.batch_size=64
# Submit it by sbatch, from an environment in which lmtasks is installed.
#SBATCH --job-name=lmtasks-sst2
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log
#SBATCH --array=0-2
set -euo pipefail
mkdir -p "runs/sst2/seed-$SLURM_ARRAY_TASK_ID"
srun --kill-on-bad-exit=1 lmtasks train --config=sst2 --config.train.batch_size=64 --workdir="runs/sst2/seed-$SLURM_ARRAY_TASK_ID" --hosts=auto --config.seed="$SLURM_ARRAY_TASK_ID"
# A run that was stopped in time says so; it goes on from the queue.
if grep -q '| stopped | preempted |' "runs/sst2/seed-$SLURM_ARRAY_TASK_ID/README.md"; then
  scontrol requeue "$SLURM_JOB_ID"
fi
