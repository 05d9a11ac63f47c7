#!/usr/bin/env bash
# Made by: lmtasks launch --dry_run --on=tpu --type=v5litepod-256 --zone=us-west4-a --config=scale:llama3_8b --workdir=/mnt/runs/llama
# It needs gcloud, set up, and this repository. The work directory must be a
# disk that all hosts share (Filestore, or a bucket mounted by gcsfuse with
# --rename-dir-limit=100000).
set -euo pipefail
name=lmtasks-scale-llama3-8b
tpu() { gcloud compute tpus tpu-vm "$@" --zone=us-west4-a; }
if ! tpu describe "$name" > /dev/null 2>&1; then
  tpu create "$name" --accelerator-type=v5litepod-256 --version=v2-alpha-tpuv5-lite
fi
archive=$(mktemp -d)/lmtasks.tar
git archive --output="$archive" HEAD
tpu scp "$archive" "$name":lmtasks.tar --worker=all
tpu ssh "$name" --worker=all --command='set -e; mkdir -p ~/lmtasks; tar -xf ~/lmtasks.tar -C ~/lmtasks; cd ~/lmtasks; test -d venv || python3.11 -m venv venv || python3 -m venv venv; venv/bin/pip install --quiet -e '"'"'.[tpu]'"'"'; mkdir -p /mnt/runs/llama; nohup venv/bin/lmtasks train --config=scale:llama3_8b --workdir=/mnt/runs/llama --hosts=auto > ~/lmtasks.log 2>&1 < /dev/null &'
echo "started; its log is lmtasks.log on each host; watch it by"
echo "gcloud compute tpus tpu-vm ssh $name --command='tail -f lmtasks.log'"
