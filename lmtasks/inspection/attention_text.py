"""Attention as text: who sees whom, and shades or numbers for the weights."""

from __future__ import annotations

import numpy as np

from lmtasks.inspection import attention

TITLES = {
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
    "cross": "cross-attention, target to source",
}
SHADES = ".:-=+*#%@"
WIDEST = 18  # characters of a piece before its row
LEGEND = (
    f'Rows look at columns. Shades "{SHADES}" rise with the square root of the weight;\n'
    "a blank is forbidden. With one --layer and one --head there are percents instead.\n"
    "What looks across is named piece > the piece it has to write."
)
Heads = int | str


def chosen(picture: attention.Picture, side: str, layer: int | None) -> list:
    """Return the layers of a side, or the one of this number where it has it.

    Raises:
        ValueError: no side has such a layer.
    """
    most = max(found.number for found in picture.layers)
    if layer is not None and not 0 <= layer <= most:
        raise ValueError(f"--layer={layer}: the model has the layers 0 to {most}")
    return [x for x in picture.of(side) if layer is None or x.number == layer]


def heads_of(layer: attention.Layer, head: Heads) -> list[tuple[str, np.ndarray]]:
    """Return (name, weights float[T, S]) of what `head` asks for: a number, "all", or
    "mean" of all.
    """
    count = len(layer.weights)
    if head == "mean":
        return [(f"mean of {count} heads", layer.weights.mean(axis=0))]
    if head == "all":
        return [(f"head {i}", layer.weights[i]) for i in range(count)]
    if not 0 <= int(head) < count:
        raise ValueError(f"--head={head}: the model has the heads 0 to {count - 1}")
    return [(f"head {head}", layer.weights[int(head)])]


def as_text(
    picture: attention.Picture, layer: int | None = None, head: Heads = "mean"
) -> str:
    """Return the masks and weights of the chosen layers and heads."""
    parts = [LEGEND]
    numbers = layer is not None and isinstance(head, int)
    for side in picture.sides:
        layers = chosen(picture, side, layer)
        names = picture.queries[side], picture.keys[side]
        for which, mask in masks_of(layers):
            title = f"{TITLES[side]}, who sees whom: {which}"
            parts.append(f"{title}\n{_grid(np.where(mask, 'x', '.'), names)}")
        for one in layers:
            for name, weights in heads_of(one, head):
                cells = _percents(weights) if numbers else _shades(weights)
                cells = np.where(one.mask, cells, " ")
                title = f"{TITLES[side]}, layer {one.number}, {name}"
                parts.append(f"{title}\n{_grid(cells, names)}")
        if side == "cross" and layers:
            parts.append(_alignment(layers, head, names))
    return "\n\n".join(parts)


def masks_of(layers) -> list[tuple[str, np.ndarray]]:
    """Return (which layers, mask bool[T, S]) for each different mask."""
    found: dict[bytes, list] = {}
    for one in layers:
        found.setdefault(one.mask.tobytes(), []).append(one)
    if len(found) == 1:
        return [("all layers" if len(layers) > 1 else "this layer", layers[0].mask)]
    return [
        (f"layers {', '.join(str(one.number) for one in same)}", same[0].mask)
        for same in found.values()
    ]


def _shades(weights: np.ndarray) -> np.ndarray:
    level = np.sqrt(np.clip(weights, 0, 1)) * len(SHADES)
    return np.array(list(SHADES))[np.minimum(level.astype(int), len(SHADES) - 1)]


def _percents(weights: np.ndarray) -> np.ndarray:
    return np.array([[f"{100 * x:.0f}" for x in row] for row in weights])


def _grid(cells: np.ndarray, names) -> str:
    """Return cells [T, S] under the numbers of the columns, beside their rows' pieces;
    below, the columns' pieces where they are others.
    """
    queries, keys = ([piece(x) for x in side] for side in names)
    left = [f"{i:3} {x:{WIDEST}.{WIDEST}} " for i, x in enumerate(queries)]
    width = int(max(map(len, cells.ravel().tolist()), default=1))
    width = max(width + 1, len(str(len(keys) - 1)) + 1) if width > 1 else 1
    if width > 1:
        head = ["".join(f"{k:{width}}" for k in range(len(keys)))]
    else:
        tens = "".join(
            str(k // 10 % 10) if k % 10 == 0 else " " for k in range(len(keys))
        )
        head = [tens] * (len(keys) > 10) + [
            "".join(str(k % 10) for k in range(len(keys)))
        ]
    lines = [" " * len(left[0]) + line for line in head]
    for name, row in zip(left, cells, strict=True):
        lines.append(name + "".join(f"{cell:>{width}}" for cell in row))
    if keys != queries:
        lines.append("columns: " + " ".join(f"{k}={x}" for k, x in enumerate(keys)))
    return "\n".join(line.rstrip() for line in lines)


def _alignment(layers, head, names) -> str:
    """Return, for each target piece, the source piece it looks at most."""
    queries, keys = names
    mean = np.mean(
        [weights for one in layers for _, weights in heads_of(one, head)], axis=0
    )
    lines = ["alignment: where each target piece looks most, mean of what is shown"]
    for i, name in enumerate(queries):
        best = int(np.argmax(mean[i]))
        row = f"{i:3} {piece(name):{WIDEST}} -> {best:3} {piece(keys[best])}"
        lines.append(f"{row} {100 * mean[i, best]:.0f}%")
    return "\n".join(lines)


def piece(text: str) -> str:
    """Return a piece in one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
