"""What has changed of a run since it last saved: its data, and its config.json."""

from __future__ import annotations

import dataclasses
import pathlib

from lmtasks import builder
from lmtasks import schema
from lmtasks.training import feed
from lmtasks.training import files
from lmtasks.training import restore

# Says where to stop, not what is run; a sweep that halves sets it.
_NOT_TOLD = ("train.stop_at",)


@dataclasses.dataclass(frozen=True)
class Since:
    """How a run's inputs differ from those that its newest checkpoint was made from.

    Attributes:
        step: of that checkpoint. then: fingerprint of the data and tokenizer it read.
        now: of what the same config reads now.
        config: {key: (then, now)} of config.json.
    """

    step: int
    then: str
    now: str
    config: dict[str, tuple]

    def lines(self) -> list[str]:
        """Return what is said of it; [] where all is as it was."""
        said = [
            f"config.json is not that of step {self.step}: {key} {old!r} -> {new!r}"
            for key, (old, new) in self.config.items()
        ]
        if self.then != self.now:
            said.append(
                f"the data, or its tokenizer, is not that of step {self.step}: "
                f"fingerprint {self.then} -> {self.now}"
            )
        return said


def read(folder: str, now: str) -> Since | None:
    """Return what has changed; None where no checkpoint tells.

    Args:
        folder: the work directory.
        now: fingerprint of the data, as config.json reads it now.
    """
    place = pathlib.Path(folder) / "checkpoints"
    saved = restore.steps(place)
    meta = restore.about(place, saved[-1])["meta"] if saved else {}
    if "data" not in meta:  # an imported checkpoint has read none
        return None
    changed = files.differences(meta["config"], files.read_config(folder))
    changed = {key: pair for key, pair in changed.items() if key not in _NOT_TOLD}
    if changed:  # those may change what is read: the data is that of the old config
        run = builder.build(schema.from_stored(meta["config"]), folder)
        now = feed.read(run).fingerprint
    return Since(saved[-1], meta["data"], now, changed)
