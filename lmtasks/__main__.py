"""`python -m lmtasks` is the `lmtasks` command."""

import sys

from lmtasks.cli import main

sys.exit(main.main())
