"""Running Python that a model wrote, where it can do no harm."""

from lmtasks.sandbox.run import Limits
from lmtasks.sandbox.run import Outcome
from lmtasks.sandbox.run import Unavailable
from lmtasks.sandbox.run import check
from lmtasks.sandbox.run import run
from lmtasks.sandbox.run import run_all

__all__ = ["Limits", "Outcome", "Unavailable", "check", "run", "run_all"]
