#!/usr/bin/env bash
# Made by: lmtasks launch --dry_run --on=gke --type=v5litepod-256 --slices=2 --cluster=mine --config=scale:llama3_8b --workdir=/mnt/runs/llama --config.parallel.replica=2 --config.train.batch_size=512
# It needs xpk, set up, and the root of this repository. The work directory
# must be a volume that all hosts share. A lost host restarts the workload, and
# the run goes on from its last checkpoint.
set -euo pipefail
xpk workload create --cluster=mine --workload=lmtasks-scale-llama3-8b --tpu-type=v5litepod-256 --num-slices=2 --base-docker-image=python:3.11 --script-dir=. --max-restarts=10 '--command=pip install --quiet -e '"'"'.[tpu]'"'"' && lmtasks train --config=scale:llama3_8b --config.parallel.replica=2 --config.train.batch_size=512 --workdir=/mnt/runs/llama --hosts=auto'
