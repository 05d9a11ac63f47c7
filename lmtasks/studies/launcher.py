"""Runs of a sweep as processes of this machine, some at a time."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from lmtasks.studies import runner
from lmtasks.studies import shares
from lmtasks.studies import variants

_POLL = 0.1


@dataclasses.dataclass
class Launcher:
    """Starts what is left of a sweep.

    Attributes:
        file: the sweep's. sweep: what it says. runs: those of this launcher.
        folders: of the runs. jobs: how many at a time.
        note: told of every run that ends.
    """

    file: str
    root: str
    sweep: variants.Sweep
    runs: list[variants.Run]
    folders: dict[int, pathlib.Path]
    jobs: int = 1
    note: Callable[[str], None] = print
    stopped: bool = False

    def run_all(self) -> dict[str, int]:
        """Train and score every run; return {variant: step it was given up at}."""
        old = {
            number: signal.signal(number, self._stop)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        alive, dropped = list(self.runs), {}
        try:
            for until in runner.rungs(self.sweep, self.runs):
                self._finish(alive, until)
                if self.stopped or not until:
                    break
                states = self._states(alive)
                bad = {r.variant for r in alive if states[r.index].kind == "failed"}
                alive = [run for run in alive if run.variant not in bad]
                if not alive:
                    break
                kept = runner.survivors(self.sweep, alive, states, until)
                gone = {run.variant for run in alive} - kept
                dropped |= dict.fromkeys(gone, until)
                for name in sorted(gone):
                    self.note(f"{name}: given up after step {until}")
                alive = [run for run in alive if run.variant in kept]
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
        return dropped

    def _stop(self, *_) -> None:
        self.stopped = True

    def _states(self, runs) -> dict[int, runner.State]:
        return {run.index: runner.state_of(self.folders[run.index]) for run in runs}

    def _finish(self, runs: list[variants.Run], until: int) -> None:
        """Bring runs to a step, or to their end; failures are noted, not raised."""
        left = [run for run in runs if not self._is_there(run, until)]
        # The first seed of each variant first: the others find its programs compiled.
        waiting = sorted(left, key=lambda run: self.sweep.seeds.index(run.seed))
        active: dict[int, tuple[variants.Run, subprocess.Popen, float]] = {}
        while waiting or active:
            while waiting and len(active) < self.jobs and not self.stopped:
                slot = next(i for i in range(self.jobs) if i not in active)
                run = waiting.pop(0)
                active[slot] = (run, self._start(run, slot, until), time.monotonic())
            if self.stopped:
                waiting.clear()
                for _, process, _ in active.values():
                    process.terminate()
                self.stopped_all(active)
                return
            for slot, (run, process, begun) in list(active.items()):
                code = process.poll()
                if code is None:
                    continue
                del active[slot]
                if code == runner.BUSY:  # one that an earlier launcher has started
                    waiting.append(run)
                    time.sleep(1)
                    continue
                self._ended(run, code, until, time.monotonic() - begun)
            time.sleep(_POLL)

    def stopped_all(self, active) -> None:
        """Wait for runs that were asked to stop; each saves what it has."""
        for run, process, _ in active.values():
            process.wait()
            self.note(f"{run.name}: stopped, saved")

    def _is_there(self, run: variants.Run, until: int) -> bool:
        state = runner.state_of(self.folders[run.index])
        return state.kind == "done" or bool(until) and state.step >= until

    def _start(self, run: variants.Run, slot: int, until: int) -> subprocess.Popen:
        folder = self.folders[run.index]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / runner.FAILED).unlink(missing_ok=True)
        argv = [
            sys.executable, "-m", "lmtasks", "sweep", self.file,
            f"--workdir={self.root}", f"--only={run.index}", f"--until={until}",
            f"--cores={shares.cores(slot, self.jobs)}",
        ]  # fmt: skip
        with open(folder / runner.LOG, "a") as log:
            return subprocess.Popen(
                argv,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | shares.of(slot, self.jobs),
                start_new_session=True,
            )

    def _ended(self, run: variants.Run, code: int, until: int, seconds: float) -> None:
        folder = self.folders[run.index]
        if code:
            said = runner.fail(folder, code).splitlines()[-1]
            self.note(f"{run.name}: failed ({code}): {said}")
            return
        state = runner.state_of(folder)
        if state.kind == "done" or until:
            done = "done" if state.kind == "done" else f"at step {state.step}"
            self.note(f"{run.name}: {done}, {seconds:.1f} s")
        else:  # a signal of someone else's
            self.note(f"{run.name}: stopped at step {state.step}; run again to go on")
