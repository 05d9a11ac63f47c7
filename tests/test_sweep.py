"""Studies as code: named variants, seeds, what is left of them, and who gives up."""

import json
import re
import signal
import time

import checkpoints
import pytest
import runs

from lmtasks.studies import commands
from lmtasks.studies import launcher
from lmtasks.studies import runner
from lmtasks.studies import shares
from lmtasks.studies import variants
from lmtasks.training import track

FILE = """
from lmtasks.studies import variants

def get_sweep():
    return variants.Sweep(
        config="own:classification",
        common={common!r},
        variants={variants!r},
        seeds={seeds!r},
        halving={halving},
    )
"""
AT = {"pre": {"model.norm.at": "pre"}, "post": {"model.norm.at": "post"}}


def study(tmp_path, *, made=AT, seeds=(0,), halving="None", **common):
    """Write a sweep of tiny runs and their data; return its file."""
    folder = tmp_path / "data"
    if not folder.exists():
        runs.data(folder)
    given = {"data.dir": str(folder)} | runs.TINY | {"tokenizer.kind": "byte"}
    given |= {key.replace("__", "."): value for key, value in common.items()}
    file = tmp_path / "sweep.py"
    text = FILE.format(common=given, variants=made, seeds=seeds, halving=halving)
    file.write_text(text)
    return file


def test_a_grid_has_every_combination_that_is_wanted():
    axes = {"model.norm.at": ("pre", "post"), "optim.learning_rate": (1e-3, 3e-4)}
    assert list(variants.grid(axes)) == [
        "at=pre,learning_rate=0.001", "at=pre,learning_rate=0.0003",
        "at=post,learning_rate=0.001", "at=post,learning_rate=0.0003",
    ]  # fmt: skip
    some = variants.grid(axes, where=lambda v: v["model.norm.at"] == "pre")
    assert list(some.values()) == [
        {"model.norm.at": "pre", "optim.learning_rate": rate} for rate in (1e-3, 3e-4)
    ]
    same_ends = variants.grid({"optim.warmup": (1,), "lora.warmup": (2,)})
    assert list(same_ends) == ["optim.warmup=1,lora.warmup=2"]


def test_drawn_variants_are_the_same_for_a_seed():
    axes = {
        "optim.learning_rate": variants.log_uniform(1e-5, 1e-2),
        "model.dropout": variants.uniform(0, 0.5),
        "model.norm.at": variants.choice("pre", "post"),
    }
    one = variants.random(20, axes, seed=3)
    assert one == variants.random(20, axes, seed=3) and len(one) == 20
    assert one != variants.random(20, axes, seed=4)
    rates = [v["optim.learning_rate"] for v in one.values()]
    assert min(rates) >= 1e-5 and max(rates) <= 1e-2 and min(rates) < 1e-4 < max(rates)
    with pytest.raises(ValueError, match="only 2 of 3"):
        variants.random(3, {"model.norm.at": variants.choice("pre", "post")})


def test_content_is_the_config_but_for_where_to_stop(tmp_path):
    sweep = variants.load(str(study(tmp_path, seeds=(0, 1))))
    found = variants.runs_of(sweep)
    assert [run.name for run in found] == ["pre-0", "pre-1", "post-0", "post-1"]
    assert len({run.content for run in found}) == 4
    again = variants.runs_of(variants.load(str(study(tmp_path, train__stop_at=3))))
    assert again[0].content == found[0].content
    other = variants.runs_of(variants.load(str(study(tmp_path, train__steps=9))))
    assert other[0].content != found[0].content
    command = commands.command(found[1], "out")
    assert "--config.seed=1" in command and "--config.model.norm.at=pre" in command


def test_a_run_is_done_once_and_its_folder_says_so(tmp_path, capsys):
    file = study(tmp_path)
    sweep = variants.load(str(file))
    found = variants.runs_of(sweep)
    out = tmp_path / "out"
    folders = runner.folders(str(out), found)
    assert runner.state_of(folders[0]).kind == "waiting"
    flags = ("sweep", str(file), f"--workdir={out}")
    runs.good(capsys, *flags, "--only=0")
    state = runner.state_of(folders[0])
    assert (state.kind, state.step) == ("done", 4)
    assert (folders[0] / "scores-validation.jsonl").exists()
    assert (
        (folders[0] / "command.txt").read_text().startswith("lmtasks train --config=")
    )
    before = runs.sha(folders[0]), (folders[0] / "eval.jsonl").read_text()
    runs.good(capsys, *flags, "--only=0")
    assert before == (runs.sha(folders[0]), (folders[0] / "eval.jsonl").read_text())
    said = runs.good(capsys, *flags, "--status")
    assert re.search(r"pre-0 +done +4/4 +loss \d", said)
    assert "post-0  waiting  0/4" in said and "2 runs: 1 done, 1 waiting" in said
    # A variant that got another name keeps what was done.
    renamed = {"before": AT["pre"], "after": AT["post"]}
    again = variants.runs_of(variants.load(str(study(tmp_path, made=renamed))))
    assert runner.folders(str(out), again)[0] == folders[0]
    # Another config under the same name is not taken for it.
    study(tmp_path, train__steps=5)
    refused = runs.command(capsys, *flags, "--status")
    assert refused.code == 2 and "train.steps 4 -> 5" in refused.err
    # A config edited by hand is seen.
    study(tmp_path)
    config = folders[0] / "config.json"
    config.write_text(config.read_text().replace('"steps": 4', '"steps": 40'))
    refused = runs.command(capsys, *flags)
    assert refused.code == 2 and "is not what the run wrote" in refused.err


def rows(folder, *values, every=10, metric="accuracy"):
    """Write evaluations of a run."""
    folder.mkdir(parents=True)
    lines = [
        json.dumps({"step": every * (i + 1), "split": "validation", metric: value})
        for i, value in enumerate(values)
    ]
    (folder / track.NAME).write_text("\n".join(lines) + "\n")


def test_halving_keeps_the_better_half_at_each_rung(tmp_path):
    made = {f"w{w}": {"model.width": w} for w in (16, 32, 48, 64)}
    halving = "variants.Halving('accuracy', 'max', 10)"
    file = study(tmp_path, made=made, seeds=(0, 1), halving=halving, train__steps=40)
    sweep = variants.load(str(file))
    found = variants.runs_of(sweep)
    assert runner.rungs(sweep, found) == [10, 20, 0]
    for run in found:
        late = 0.9 if run.variant == "w16" else 0.5
        first = {"w16": 0.1, "w32": 0.6, "w48": 0.7, "w64": 0.2}[run.variant]
        rows(tmp_path / run.name, first + 0.01 * run.seed, late)
    states = {r.index: runner.state_of(tmp_path / r.name) for r in found}
    assert runner.survivors(sweep, found, states, 10) == {"w32", "w48"}
    # What came after the rung is not looked at; another metric is refused by name.
    with pytest.raises(ValueError, match=r"no 'accuracy' of validation by step 5"):
        runner.survivors(sweep, found, states, 5)


def test_jobs_share_cores_and_cards(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert shares.of(0, 2) == {"CUDA_VISIBLE_DEVICES": "0,2"}
    assert shares.of(1, 1) == {}
    both = shares.of(5, 8)
    assert both["CUDA_VISIBLE_DEVICES"] == "1"
    assert both["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.45"


def test_jobs_share_the_chips_of_a_tpu_host(monkeypatch):
    monkeypatch.setenv("TPU_VISIBLE_CHIPS", "0,1,2,3")
    alone = {"TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1", "TPU_PROCESS_BOUNDS": "1,1,1"}
    found = [shares.of(slot, 4) for slot in range(4)]
    assert found == [alone | {"TPU_VISIBLE_CHIPS": str(i)} for i in range(4)]
    two = shares.of(1, 2)
    assert two["TPU_VISIBLE_CHIPS"] == "2,3"
    assert two["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,2,1"
    with pytest.raises(ValueError, match=r"--jobs=3: the 4 TPU chips .* 1, 2, 4 runs"):
        shares.of(0, 3)


def test_the_batch_script_has_a_task_for_each_run(tmp_path, capsys):
    file = study(tmp_path, seeds=(0, 1, 2))
    text = runs.good(capsys, "sweep", str(file), "--workdir=out", "--slurm")
    assert "#SBATCH --array=0-5" in text
    assert f'lmtasks sweep {file} --workdir=out --only="$SLURM_ARRAY_TASK_ID"\n' in text
    commands = runs.good(capsys, "sweep", str(file), "--workdir=out", "--dry_run")
    assert commands.count("lmtasks train --config=own:classification") == 6


@pytest.mark.parametrize(
    ("changes", "flags", "said"),
    [
        ({"made": {"a": {"model.widht": 8}}}, [], "variant a: .*did you mean"),
        ({"made": {"a": {"model.width": "x"}}}, [], "variant a: .*whole number"),
        ({"made": {"a": {}, "b": {}}}, [], "variants a and b are the same config"),
        ({"made": {"a/b": {}}}, [], "'a/b' names folders"),
        ({"made": {}}, [], "at least one of each"),
        ({"data__dir": "$NOWHERE/x"}, [], "no NOWHERE; export NOWHERE="),
        ({"halving": "variants.Halving('loss', 'least', 4)"}, [], "mode is max or min"),
        ({}, ["--jobs=0"], "at least 1"),
        ({}, ["--only=7"], "0 to 1"),
        ({}, ["--part=2/2"], "I from 0 to N - 1"),
        ({}, ["--job=2"], "did you mean --jobs"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path, capsys, changes, flags, said):
    file = study(tmp_path, **changes)
    out = tmp_path / "out"
    found = runs.command(capsys, "sweep", str(file), f"--workdir={out}", *flags)
    assert found.code == 2 and found.err.count("\n") == 1
    assert re.search(said, found.err), found.err
    assert not out.exists()


def test_a_task_that_fails_says_so_itself(tmp_path, capsys):
    # Two heads do not divide a width of 17: this fails when the run is built.
    file = study(tmp_path, made={"good": {}, "bad": {"model.width": 17}})
    flags = ("sweep", str(file), f"--workdir={tmp_path}/out")
    assert runs.command(capsys, *flags, "--only=1").code == 2
    said = runs.good(capsys, *flags, "--status")
    assert re.search(r"bad-0 +failed", said) and "1 waiting, 1 failed" in said
    assert re.search(r"\nbad-0:\n  ValueError: .*not divisible", said)


def test_a_part_is_every_nth_run(tmp_path, monkeypatch, capsys):
    from lmtasks.cli import sweep as verb

    given = []
    monkeypatch.setattr(verb, "_launch", lambda *a: given.append(a[3]) or 0)
    file = study(tmp_path, seeds=(0, 1, 2))
    for index in (0, 1):
        flags = ("sweep", str(file), f"--workdir={tmp_path}/out", f"--part={index}/2")
        runs.good(capsys, *flags)
    names = [[run.name for run in part] for part in given]
    assert names == [["pre-0", "pre-2", "post-1"], ["pre-1", "post-0", "post-2"]]


@pytest.mark.parametrize("flag", ["--part=0/2", "--slurm"])
def test_halving_is_not_cut_into_parts(tmp_path, capsys, flag):
    file = study(tmp_path, halving="variants.Halving('loss', 'min', 2)")
    found = runs.command(capsys, "sweep", str(file), f"--workdir={tmp_path}/out", flag)
    assert found.code == 2 and "which --part and --slurm keep apart" in found.err


class Process:
    """A run that ends after some looks at it; what it wrote is there by then."""

    alive = 0
    most = 0

    def __init__(self, folder, code, looks, done):
        self.folder, self.code, self.looks, self.done = folder, code, looks, done
        Process.alive += 1
        Process.most = max(Process.most, Process.alive)

    def poll(self):
        self.looks -= 1
        if self.looks:
            return None
        Process.alive -= 1
        self.done(self.folder)
        return self.code


def played(tmp_path, monkeypatch, file, jobs, end):
    """Run a sweep whose runs are no processes; return (launcher, dropped, its words).

    Args:
        end: run, until -> (exit code, what it leaves in its folder).
    """
    sweep = variants.load(str(file))
    found = variants.runs_of(sweep)
    folders, said = {run.index: tmp_path / "out" / run.name for run in found}, []
    one = launcher.Launcher(
        str(file), str(tmp_path / "out"), sweep, found, folders, jobs, said.append
    )

    def start(run, slot, until):
        folders[run.index].mkdir(parents=True, exist_ok=True)
        code, done = end(run, until)
        return Process(folders[run.index], code, 1 + run.index % 3, done)

    Process.alive = Process.most = 0
    monkeypatch.setattr(one, "_start", start)
    monkeypatch.setattr(launcher, "_POLL", 0)
    return one, one.run_all(), said


def test_no_more_runs_are_alive_than_asked_for(tmp_path, monkeypatch):
    file = study(tmp_path, seeds=(0, 1, 2, 3))

    def end(run, until):
        done = {"seconds": 1, "content": run.content, "config": ""}
        return 0, lambda folder: (folder / "done.json").write_text(json.dumps(done))

    _, _, said = played(tmp_path, monkeypatch, file, 3, end)
    assert Process.most == 3 and Process.alive == 0
    assert sorted(line.split(":")[0] for line in said) == sorted(
        f"{name}-{seed}" for name in AT for seed in range(4)
    )


def test_a_variant_that_fails_takes_no_part_in_halving(tmp_path, monkeypatch):
    """The one that fails would be the best by what it logged before."""
    made = {f"w{w}": {"model.width": w} for w in (16, 32, 48)}
    halving = "variants.Halving('accuracy', 'max', 10)"
    file = study(tmp_path, made=made, halving=halving, train__steps=20)
    began = []

    def end(run, until):
        began.append((run.variant, until))
        value = {"w16": 0.9, "w32": 0.6, "w48": 0.5}[run.variant]
        row = {"step": until or 20, "split": "validation", "accuracy": value}
        done = {"seconds": 1, "content": run.content, "config": ""}

        def leave(folder):
            (folder / track.NAME).write_text(json.dumps(row) + "\n")
            if not until:
                (folder / "done.json").write_text(json.dumps(done))

        return (1 if run.variant == "w16" else 0), leave

    _, dropped, said = played(tmp_path, monkeypatch, file, 2, end)
    assert dropped == {"w48": 10}
    assert [one for one in began if not one[1]] == [("w32", 0)]
    assert any(line.startswith("w16-0: failed (1)") for line in said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "defines no get_sweep"),
        ("def get_sweep():\n    return 3\n", "returns a variants.Sweep"),
        ("def get_sweep(:\n", "sweep.py"),
        (None, "there is no such file"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(tmp_path, capsys, text, said):
    file = tmp_path / "sweep.py"
    if text is not None:
        file.write_text(text)
    found = runs.command(capsys, "sweep", str(file), f"--workdir={tmp_path}/out")
    assert found.code == 2 and said in found.err and found.err.count("\n") == 1


@pytest.mark.process
def test_a_failed_run_is_told_and_the_others_go_on(tmp_path, capsys):
    # Two heads do not divide a width of 17: this fails when the run is built.
    made = {"good": {}, "bad": {"model.width": 17}}
    file = study(tmp_path, made=made)
    found = runs.command(
        capsys, "sweep", str(file), f"--workdir={tmp_path}/out", "--jobs=2"
    )
    assert found.code == 1
    assert "1 of 2 done, 1 failed" in found.out and "good-0: done" in found.out
    assert "bad-0" in found.err and "not divisible" in found.err
    said = runs.good(
        capsys, "sweep", str(file), f"--workdir={tmp_path}/out", "--status"
    )
    assert re.search(r"bad-0 +failed", said)


@pytest.mark.slow
def test_variants_of_one_program_compile_it_once(tmp_path):
    made = {
        "slow": {"optim.learning_rate": 1e-3},
        "fast": {"optim.learning_rate": 2e-3},
    }
    file, cache = study(tmp_path, made=made, seeds=(0, 1)), tmp_path / "cache"
    env = runs.environment() | {"JAX_COMPILATION_CACHE_DIR": str(cache)}

    def programs(index):
        flags = (f"--workdir={tmp_path}/out", f"--only={index}")
        said = runs.ended(runs.start("sweep", str(file), *flags, env=env), 300)
        assert said.code == 0, said.err
        return {path.name for path in cache.glob("*-cache")}

    first = programs(0)
    assert any(name.startswith("jit_train_step-") for name in first), first
    assert programs(1) == first  # another seed
    # Another learning rate is a constant of the step, and of nothing else.
    [other] = programs(2) - first
    assert other.startswith("jit_train_step-")


@pytest.mark.slow
def test_a_killed_launcher_is_started_again(tmp_path, capsys):
    file = study(tmp_path, seeds=(0, 1), train__steps=300, checkpoint__every=20)
    out = tmp_path / "out"
    argv = ("sweep", str(file), f"--workdir={out}", "--jobs=2")
    one = runs.start(*argv)
    runs.until(one, lambda: len(list(out.glob("*/metrics.jsonl"))) == 2, 120)
    one.kill()  # its runs go on without it
    one.communicate()
    time.sleep(1)
    two = runs.start(*argv)
    text, _ = two.communicate(timeout=400)
    assert two.returncode == 0 and "4 of 4 done" in text
    assert all(
        len((f / "command.txt").read_text().splitlines()) == 1 for f in out.iterdir()
    )


@pytest.mark.slow
def test_a_launcher_that_is_asked_to_stop_saves_and_goes_on(tmp_path, capsys):
    file = study(tmp_path, train__steps=400, checkpoint__every=0)
    out = tmp_path / "out"
    argv = ("sweep", str(file), f"--workdir={out}", "--jobs=2")
    one = runs.start(*argv)
    runs.until(one, lambda: len(list(out.glob("*/metrics.jsonl"))) == 2, 120)
    time.sleep(2)
    one.send_signal(signal.SIGTERM)
    text, _ = one.communicate(timeout=60)
    assert one.returncode == 0 and "stopped; the same command again goes on" in text
    said = runs.good(capsys, "sweep", str(file), f"--workdir={out}", "--status")
    assert said.count("stopped") >= 1
    two = runs.start(*argv)
    text, _ = two.communicate(timeout=400)
    assert two.returncode == 0 and "2 of 2 done" in text


@pytest.mark.slow
def test_a_sweep_that_halves_trains_the_rest_no_further(tmp_path, capsys):
    made = {
        f"rate{i}": {"optim.learning_rate": r}
        for i, r in enumerate((0, 1e-3, 1e-2, 3e-3))
    }
    halving = "variants.Halving('loss', 'min', 10)"
    file = study(tmp_path, made=made, halving=halving, train__steps=40, eval__every=10)
    out = tmp_path / "out"
    text = runs.good(capsys, "sweep", str(file), f"--workdir={out}", "--jobs=2")
    assert text.count("given up after step 10") == 2
    assert text.count("given up after step 20") == 1
    assert "1 of 4 done, 0 failed, 3 given up early" in text
    steps = sorted(runner.state_of(f).step for f in out.iterdir())
    assert steps == [10, 10, 20, 40]
    again = runs.good(capsys, "sweep", str(file), f"--workdir={out}", "--jobs=2")
    assert "4 runs, 1 done" in again and "3 given up early" in again


def test_a_sweep_without_training_imports_and_scores(tmp_path, capsys):
    """What it notes as a run's command is the import that makes the same folder."""
    checkpoint = tmp_path / "bert"
    checkpoints.write("bert", checkpoint, checkpoints.usual("bert"))
    checkpoints.write_vocab(checkpoint)
    data = runs.data(tmp_path / "data")
    common = {"data.dir": str(data), "data.length": 16, "init": str(checkpoint)}
    made = {"one": {}, "two": {"data.limit": 8}}
    text = FILE.format(common=common, variants=made, seeds=(0,), halving="None")
    file = tmp_path / "sweep.py"
    file.write_text(text.replace("halving=None", "trained=False"))
    out = tmp_path / "out"
    runs.good(capsys, "sweep", str(file), f"--workdir={out}", "--only=1")
    folder = out / "two-0"
    state = runner.state_of(folder)
    assert (state.kind, state.step, runs.steps(folder)) == ("done", 0, [0])
    argv = (folder / "command.txt").read_text().split()
    assert argv[:3] == ["lmtasks", "import", f"--from={checkpoint}"]
    again = [word.replace(str(folder), str(tmp_path / "again")) for word in argv[1:]]
    runs.good(capsys, *again)
    runs.good(capsys, "eval", f"--workdir={tmp_path / 'again'}")
    assert runs.rows(tmp_path / "again", "eval.jsonl") == runs.rows(
        folder, "eval.jsonl"
    )
    table = runs.good(capsys, "report", str(out), "--split=validation")
    assert "two" in table
    del common["init"]
    bare = FILE.format(common=common, variants=made, seeds=(0,), halving="None")
    file.write_text(bare.replace("halving=None", "trained=False"))
    said = runs.command(capsys, "sweep", str(file), f"--workdir={out}")
    assert said.code == 2 and "set init" in said.err
