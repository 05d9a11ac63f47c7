"""Scripts that start a run on many machines: a TPU pod by ssh, SLURM, Kubernetes.

Each is plain bash that can be read, kept and run again: what is there already is used,
and a run that has begun goes on.
"""

from __future__ import annotations

import dataclasses
import re
import shlex

# Type of a TPU -> (cores a chip in its name, software of its virtual machines).
TPUS = {
    "v4": (2, "tpu-ubuntu2204-base"),
    "v5litepod": (1, "v2-alpha-tpuv5-lite"),
    "v5p": (2, "v2-alpha-tpuv5"),
    "v6e": (1, "v2-alpha-tpuv6e"),
}

# How SLURM warns a job two minutes before its end, so that it saves.
AGAIN = (
    "#SBATCH --signal=TERM@120",
    "#SBATCH --requeue",
    "#SBATCH --open-mode=append",
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is started, and where.

    Attributes:
        command: of this launch, written into the script.
        arguments: of `lmtasks train`, without --hosts.
        workdir: on a disk that all machines share.
        name: of the machines, job or workload.
        kind: of the TPU, such as v5litepod-256. slices: of it.
        zone, project, cluster: of the cloud; "" = what the tools are set to.
        nodes, gpus: SLURM's machines, and processors in each.
        hours: after which SLURM ends the job; it resumes in the queue.
        seeds: runs that differ in their seed alone.
    """

    command: str
    arguments: tuple[str, ...]
    workdir: str
    name: str
    kind: str = ""
    slices: int = 1
    zone: str = ""
    project: str = ""
    cluster: str = ""
    nodes: int = 1
    gpus: int = 8
    hours: int = 24
    seeds: int = 1

    def devices(self) -> int:
        """Return the chips or GPUs of one run.

        Raises:
            ValueError: a type of TPU that is none.
        """
        if not self.kind:
            return self.nodes * self.gpus
        found = re.fullmatch(r"(\w+)-(\d+)", self.kind)
        if not found or found[1] not in TPUS:
            raise ValueError(
                f"--type={self.kind!r}: there are {', '.join(f'{t}-N' for t in TPUS)}, "
                "such as v5litepod-256"
            )
        return int(found[2]) // TPUS[found[1]][0] * self.slices


def _words(*words: str) -> str:
    return " ".join(shlex.quote(word) for word in words)


def _head(plan: Plan) -> list[str]:
    return ["#!/usr/bin/env bash", f"# Made by: {plan.command}"]


def _place(plan: Plan) -> list[str]:
    zone = [f"--zone={plan.zone}"] if plan.zone else []
    return zone + ([f"--project={plan.project}"] if plan.project else [])


def _train(plan: Plan, program: str = "lmtasks") -> str:
    words = ("train", *plan.arguments, f"--workdir={plan.workdir}", "--hosts=auto")
    return f"{program} {_words(*words)}"


def tpu(plan: Plan) -> str:
    """Return a script that makes a TPU pod if need be and trains on all its hosts.

    It runs in the root of the repository, whose committed files it sends. The run goes
    on when the terminal closes; its log lies on each host.
    """
    version = TPUS[plan.kind.split("-")[0]][1]
    remote = (
        "set -e; mkdir -p ~/lmtasks; tar -xf ~/lmtasks.tar -C ~/lmtasks; cd ~/lmtasks; "
        "test -d venv || python3.11 -m venv venv || python3 -m venv venv; "
        "venv/bin/pip install --quiet -e '.[tpu]'; "
        f"mkdir -p {shlex.quote(plan.workdir)}; "
        f"nohup {_train(plan, 'venv/bin/lmtasks')} > ~/lmtasks.log 2>&1 < /dev/null &"
    )
    lines = [
        *_head(plan),
        "# It needs gcloud, set up, and this repository. The work directory must be a",
        "# disk that all hosts share (Filestore, or a bucket mounted by gcsfuse with",
        "# --rename-dir-limit=100000).",
        "set -euo pipefail",
        f"name={shlex.quote(plan.name)}",
        f'tpu() {{ gcloud compute tpus tpu-vm "$@" {_words(*_place(plan))}; }}',
        'if ! tpu describe "$name" > /dev/null 2>&1; then',
        f'  tpu create "$name" --accelerator-type={plan.kind} --version={version}',
        "fi",
        "archive=$(mktemp -d)/lmtasks.tar",
        'git archive --output="$archive" HEAD',
        'tpu scp "$archive" "$name":lmtasks.tar --worker=all',
        f'tpu ssh "$name" --worker=all --command={shlex.quote(remote)}',
        'echo "started; its log is lmtasks.log on each host; watch it by"',
        "echo \"gcloud compute tpus tpu-vm ssh $name --command='tail -f lmtasks.log'\"",
    ]
    return "\n".join(lines) + "\n"


def requeued(folder: str) -> list[str]:
    """Return the lines that put a job whose run was stopped into the queue again.

    Args:
        folder: the run's, as bash reads it between double quotes.
    """
    return [
        "# A run that was stopped in time says so; it goes on from the queue.",
        f"if grep -q '| stopped | preempted |' \"{folder}/README.md\"; then",
        '  scontrol requeue "$SLURM_JOB_ID"',
        "fi",
    ]


def slurm(plan: Plan) -> str:
    """Return a batch script: a process a GPU, one run, or an array of seeds.

    Two minutes before its time is over the run is asked to stop, saves, and stands in
    the queue again, where it resumes.
    """
    folder = plan.workdir
    more = []
    if plan.seeds > 1:
        folder = f"{folder}/seed-$SLURM_ARRAY_TASK_ID"
        more = [f"#SBATCH --array=0-{plan.seeds - 1}"]
    words = ["lmtasks", "train", *plan.arguments]
    train = _words(*words) + f' --workdir="{folder}" --hosts=auto'
    if plan.seeds > 1:
        train += ' --config.seed="$SLURM_ARRAY_TASK_ID"'
    lines = [
        *_head(plan),
        "# Submit it by sbatch, from an environment in which lmtasks is installed.",
        f"#SBATCH --job-name={plan.name}",
        f"#SBATCH --nodes={plan.nodes}",
        f"#SBATCH --ntasks-per-node={plan.gpus}",
        f"#SBATCH --gpus-per-node={plan.gpus}",
        f"#SBATCH --time={plan.hours}:00:00",
        *AGAIN,
        "#SBATCH --output=%x-%A_%a.log" if more else "#SBATCH --output=%x-%j.log",
        *more,
        "set -euo pipefail",
        f'mkdir -p "{folder}"',
        f"srun --kill-on-bad-exit=1 {train}",
        *requeued(folder),
    ]
    return "\n".join(lines) + "\n"


def gke(plan: Plan) -> str:
    """Return a script that starts a workload on TPU slices of Kubernetes, by xpk."""
    inside = f"pip install --quiet -e '.[tpu]' && {_train(plan)}"
    words = (
        "xpk", "workload", "create", f"--cluster={plan.cluster}",
        f"--workload={plan.name}", f"--tpu-type={plan.kind}",
        f"--num-slices={plan.slices}", "--base-docker-image=python:3.11",
        "--script-dir=.", "--max-restarts=10", f"--command={inside}", *_place(plan),
    )  # fmt: skip
    lines = [
        *_head(plan),
        "# It needs xpk, set up, and the root of this repository. The work directory",
        "# must be a volume that all hosts share. A lost host restarts the workload, and",
        "# the run goes on from its last checkpoint.",
        "set -euo pipefail",
        _words(*words),
    ]
    return "\n".join(lines) + "\n"


SCRIPTS = {"tpu": tpu, "slurm": slurm, "gke": gke}


def check(plan: Plan, where: str) -> None:
    """Raise ValueError where something is missing for that place."""
    if where in ("tpu", "gke") and not plan.kind:
        raise ValueError(f"--on={where} needs --type, such as v5litepod-256")
    if where == "gke" and not plan.cluster:
        raise ValueError("--on=gke needs --cluster")
    if where == "tpu" and plan.slices > 1:
        raise ValueError("--on=tpu starts one slice; several are for --on=gke")
    if plan.seeds > 1 and where != "slurm":
        raise ValueError(
            f"--seeds={plan.seeds} makes a SLURM array; start one run a seed on {where}"
        )
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", plan.name):
        raise ValueError(
            f"--name={plan.name!r} takes small letters, digits and dashes, 40 at most, "
            "a letter first"
        )
