"""WikiText-2 for masked language modelling. (Merity et al., 2017)

The records of task wikitext2, whose default on an encoder is the objective mlm; see
there for the files.
"""

import dataclasses

from lmtasks.tasks import wikitext2

TASK = dataclasses.replace(wikitext2.TASK, objective="mlm")
