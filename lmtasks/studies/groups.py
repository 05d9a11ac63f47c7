"""Examples in groups, by a field of their records."""

from __future__ import annotations

import collections
import difflib
import math
from collections.abc import Sequence

import numpy as np

from lmtasks.studies import scores

# Of one group field: more values than this are cut into quarters.
_MOST_GROUPS = 12
_LEAST_GROUP = 5


def of(one: scores.Scores, field: str) -> dict[str, np.ndarray]:
    """Return {value of a field: indices of the examples that have it}; numbers of many
    values are cut into quarters, what is rare is left together as "other".

    Raises:
        ValueError: the examples have no such field, or only one value of it.
    """
    values = [example["fields"].get(field) for example in one.examples]
    if all(value is None for value in values):
        known = sorted(set().union(*(e["fields"] for e in one.examples)))
        near = difflib.get_close_matches(field, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"--by={field} is no short field of the records; there are "
            f"{', '.join(known)}{hint}"
        )
    there = [value for value in values if value is not None]
    if len(set(there)) > _MOST_GROUPS and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in there
    ):
        names = iter(_quarters(there))
        values = [None if value is None else next(names) for value in values]
    names = ["none" if value is None else str(value) for value in values]
    common = collections.Counter(names)
    kept = {n for n, size in common.most_common(_MOST_GROUPS) if size >= _LEAST_GROUP}
    found = collections.defaultdict(list)
    for i, name in enumerate(names):
        found[name if name in kept else "other"].append(i)
    if len(found) == 1:
        raise ValueError(f"--by={field}: all examples have the same value")
    order = list(dict.fromkeys(values)) if kept else []
    rank = {str(value): i for i, value in enumerate(sorted(order, key=_sortable))}
    return {
        name: np.array(found[name])
        for name in sorted(found, key=lambda n: (n == "other", rank.get(n, 0), n))
    }


def _sortable(value):
    """Return a key that sorts numbers by size and before texts."""
    try:
        lead = float(str(value).split(" ")[0])
    except ValueError:
        lead = math.nan
    return (0, lead, "") if math.isfinite(lead) else (1, 0, str(value))


def _quarters(values: Sequence[float]) -> list[str]:
    """Return "LOW to HIGH" of the quarter that each number lies in."""
    edges = np.quantile(values, (0.25, 0.5, 0.75), method="lower")
    which = np.searchsorted(edges, values, side="left")
    array = np.asarray(values)
    names = {
        int(q): f"{array[which == q].min():.6g} to {array[which == q].max():.6g}"
        for q in np.unique(which)
    }
    return [names[int(q)] for q in which]
