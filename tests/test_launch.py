"""Scripts that start runs on clusters: read by bash, run against stand-ins."""

import os
import pathlib
import subprocess

import pytest
import runs
import test_sweep

ROOT = pathlib.Path(__file__).parents[1]
TPU = ("--on=tpu", "--type=v5litepod-256", "--zone=us-west4-a")
SLURM = ("--on=slurm", "--nodes=4", "--gpus=8")
GKE = ("--on=gke", "--type=v5litepod-256", "--slices=2", "--cluster=mine")
LLAMA = ("--config=scale:llama3_8b", "--workdir=/mnt/runs/a b")
WIDE = "--config.train.batch_size=64"
TWO = "--config.parallel.replica=2", "--config.train.batch_size=512"


@pytest.fixture
def stand_in(tmp_path):
    """Return (a folder of programs that write down how they were called, that file)."""
    calls = tmp_path / "calls"
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gcloud", "xpk", "srun", "scontrol", "sbatch"):
        fake = folder / name
        fake.write_text(
            f'#!/bin/sh\nprintf "%s\\037" {name} "$@" >> {calls}; echo >> {calls}\n'
            f'case "$*" in *describe*) exit 1;; esac\n'
        )
        fake.chmod(0o755)
    return folder, calls


def script(capsys, tmp_path, *argv):
    """Return the file of a printed script that bash can read."""
    file = tmp_path / "script.sh"
    file.write_text(runs.good(capsys, "launch", "--dry_run", *argv))
    subprocess.run(["bash", "-n", file], check=True)
    return file


def played(file, stand_in, **env):
    """Run a script against the stand-ins; return what they were called with."""
    folder, calls = stand_in
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", file],
        env=os.environ | path | env,
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [line[:-1].split("\x1f") for line in calls.read_text().split("\n")[:-1]]


def test_a_pod_is_made_gets_the_code_and_trains_on_all_hosts(
    capsys, tmp_path, stand_in
):
    calls = played(script(capsys, tmp_path, *TPU, *LLAMA), stand_in)
    assert [call[4] for call in calls] == ["describe", "create", "scp", "ssh"]
    create, ssh = calls[1], calls[3]
    assert "--accelerator-type=v5litepod-256" in create
    assert "--version=v2-alpha-tpuv5-lite" in create
    assert all("--zone=us-west4-a" in call for call in calls)
    assert "--worker=all" in ssh
    (command,) = [word for word in ssh if word.startswith("--command=")]
    assert "venv/bin/lmtasks train --config=scale:llama3_8b" in command
    assert "'--workdir=/mnt/runs/a b' --hosts=auto" in command
    # What the hosts are told to do is bash too.
    subprocess.run(["bash", "-n", "-c", command.removeprefix("--command=")], check=True)


def test_a_batch_job_stops_in_time_and_is_queued_again(capsys, tmp_path, stand_in):
    argv = ("--config=sst2", f"--workdir={tmp_path}/runs", "--seeds=3", WIDE)
    file = script(capsys, tmp_path, *SLURM, *argv)
    text = file.read_text()
    for line in (
        "--nodes=4",
        "--ntasks-per-node=8",
        "--signal=TERM@120",
        "--array=0-2",
    ):
        assert f"#SBATCH {line}\n" in text
    card = tmp_path / "runs" / "seed-1" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("| stopped | preempted |\n")
    env = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_ID": "77"}
    calls = played(file, stand_in, **env)
    assert calls[0][:4] == ["srun", "--kill-on-bad-exit=1", "lmtasks", "train"]
    assert f"--workdir={tmp_path}/runs/seed-1" in calls[0]
    assert "--config.seed=1" in calls[0] and "--hosts=auto" in calls[0]
    assert calls[1] == ["scontrol", "requeue", "77"]


def test_a_task_of_a_sweep_is_queued_again_where_it_was_stopped(
    capsys, tmp_path, stand_in
):
    made = test_sweep.study(tmp_path)
    file = tmp_path / "script.sh"
    flags = ("--workdir", tmp_path / "my runs", "--slurm", "--gpus=2")
    file.write_text(runs.good(capsys, "sweep", made, *flags))
    assert "#SBATCH --signal=TERM@120\n#SBATCH --requeue\n" in file.read_text()
    env = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_JOB_ID": "78"}
    [task] = played(file, stand_in, **env)
    assert task[:3] == ["srun", "lmtasks", "sweep"] and task[-1] == "--only=1"
    card = tmp_path / "my runs" / "post-0" / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("| stopped | preempted |\n")
    assert played(file, stand_in, **env)[-1] == ["scontrol", "requeue", "78"]


def test_slices_of_kubernetes_are_one_workload(capsys, tmp_path, stand_in):
    file = script(capsys, tmp_path, *GKE, *LLAMA, *TWO)
    (call,) = played(file, stand_in)
    assert call[:3] == ["xpk", "workload", "create"]
    assert {"--tpu-type=v5litepod-256", "--num-slices=2", "--cluster=mine"} <= {*call}
    (command,) = [word for word in call if word.startswith("--command=")]
    assert "--config.parallel.replica=2" in command


def test_without_dry_run_the_script_is_run(capsys, tmp_path, stand_in, monkeypatch):
    folder, calls = stand_in
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    runs.good(capsys, "launch", *SLURM, "--config=sst2", f"--workdir={tmp_path}", WIDE)
    assert calls.read_text().startswith("sbatch\x1f")
    monkeypatch.setenv("PATH", "")
    said = runs.command(capsys, "launch", *SLURM, "--config=sst2", "--workdir=w", WIDE)
    assert said.code == 2 and "sbatch is not installed here" in said.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--on=aws", *LLAMA), "--on='aws' is not one of tpu, slurm, gke"),
        (("--on=tpu", *LLAMA), "--on=tpu needs --type"),
        (("--on=tpu", "--type=v9-8", *LLAMA), "--type='v9-8': there are v4-N"),
        (("--on=tpu", "--type=v4", *LLAMA), "--type='v4'"),
        ((*TPU, "--seeds=2", *LLAMA), "--seeds=2 makes a SLURM array"),
        ((*TPU, "--slices=2", *LLAMA), "--on=tpu starts one slice"),
        ((*GKE[:3], *LLAMA), "--on=gke needs --cluster"),
        ((*TPU, "--name=No_Name", *LLAMA), "--name='No_Name'"),
        ((*TPU, LLAMA[0]), "give --workdir"),
        ((*TPU, LLAMA[1]), "give --config"),
        ((*SLURM, *LLAMA, "--config.train.batch_size=40"), "not divisible by 32"),
        (
            (*SLURM, *LLAMA, "--config.parallel.tensor=3"),
            "does not match the 32 devices",
        ),
    ],
)
def test_what_cannot_start_is_refused(argv, said, capsys):
    found = runs.command(capsys, "launch", "--dry_run", *argv)
    assert found.code == 2 and said in found.err, found
    assert found.out == ""


KEPT = {
    "tpu_pod.sh": (*TPU, LLAMA[0], "--workdir=/mnt/runs/llama"),
    "slurm.sh": (*SLURM, "--seeds=3", "--config=sst2", "--workdir=runs/sst2", WIDE),
    "gke.sh": (*GKE, LLAMA[0], "--workdir=/mnt/runs/llama", *TWO),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_kept_examples_are_what_the_verb_prints(name, capsys):
    printed = runs.good(capsys, "launch", "--dry_run", *KEPT[name])
    assert (ROOT / "experiments" / "launch" / name).read_text() == printed
