"""The layouts of checkpoints against reshapes and concatenations written by hand."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from lmtasks.hf import layout
from lmtasks.layers import positions

# All sizes differ, so that no two dims can be taken for each other.
SIZES = {"D": 5, "N": 6, "K": 3, "H": 4, "F": 7, "V": 11}
ONE, SOME, ALL = 1, 50, 1 << 30


def joined(*arrays):
    """[D, ..., H] each -> [rows, D], one array after another."""
    return np.concatenate([x.reshape(len(x), -1) for x in arrays], 1).T


def by_head(*arrays):
    """[D, N, H] each -> [(N arrays H), D]."""
    return np.stack(arrays, 2).reshape(len(arrays[0]), -1).T


def paired(x):
    """[D, N, H] -> [(N H), D] where the two of a rotary pair stand together."""
    d, n, h = x.shape
    return x.reshape(d, n, 2, h // 2).swapaxes(2, 3).reshape(d, n * h).T


# layout -> (letters of our arrays, the tensor by hand).
FORMS = {
    "D": (["D"], lambda x: x),
    "V D": (["VD"], lambda x: x),
    "D F": (["FD"], lambda x: x.T),
    "(N H)": (["NH"], lambda x: x.reshape(-1)),
    "(N H) D": (["DNH"], joined),
    "(K H) D": (["DKH"], joined),
    "D (N H)": (["NHD"], lambda x: x.reshape(-1, x.shape[2]).T),
    "D (3 N H)": (["DNH"] * 3, lambda *xs: joined(*xs).T),
    "(N 3 H) D": (["DNH"] * 3, by_head),
    "(N 3 H)": (["NH"] * 3, lambda *xs: np.stack(xs, 1).reshape(-1)),
    "(3 N H) D": (["DNH"] * 3, joined),
    "((N+K+K) H) D": (["DNH", "DKH", "DKH"], joined),
    "(N H/2 2) D": (["DNH"], paired),
    "(K H/2 2) D": (["DKH"], paired),
    "1 V": (["V"], lambda x: x[None]),
    "(2 F) D": (["DF"] * 2, joined),
    "(3 N H)": (["NH"] * 3, lambda *xs: np.concatenate(xs).reshape(-1)),
}


def drawn(form):
    """Return ([(letters, array)], the tensor by hand) of a layout."""
    rng = np.random.default_rng(3)
    letters, tensor = FORMS[form]
    shapes = [tuple(SIZES[x] for x in one) for one in letters]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    pairs = [(tuple(a), x) for a, x in zip(letters, arrays, strict=True)]
    return pairs, np.ascontiguousarray(tensor(*arrays))


def read(form, tensor, like, most):
    """Return our arrays of a tensor."""
    ours = [(letters, np.full_like(x, np.nan)) for letters, x in like]
    for window in layout.windows(form, ours, most):
        part = tensor[window.rows].reshape(window.dims)
        for view, index in window.parts:
            view[...] = part[index]
    return [x for _, x in ours]


@pytest.mark.parametrize("most", [ONE, SOME, ALL])
@pytest.mark.parametrize("form", FORMS)
def test_reading_gives_what_was_laid_out_by_hand(form, most):
    ours, tensor = drawn(form)
    found = read(form, tensor, ours, most)
    for (_, x), y in zip(ours, found, strict=True):
        assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize("most", [ONE, SOME, ALL])
@pytest.mark.parametrize("form", FORMS)
def test_writing_lays_out_the_same_bits(form, most):
    ours, tensor = drawn(form)
    shape = layout.shape_of(form, [(letters, x.shape) for letters, x in ours])
    assert shape == tensor.shape
    out = np.full(shape, np.nan, np.float32)
    for window in layout.windows(form, ours, most):
        part = out[window.rows].reshape(window.dims)
        for view, index in window.parts:
            part[index] = view
    assert out.tobytes() == tensor.tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_windows_are_small_and_cover_the_rows(form):
    ours, tensor = drawn(form)
    row = math.prod(tensor.shape[1:])
    for most in (ONE, SOME, ALL):
        found = list(layout.windows(form, ours, most))
        rows = np.concatenate([np.arange(len(tensor))[w.rows] for w in found])
        # A window may hold one index of the first letter, whose rows can be many, and
        # what is not transposed more of them.
        lengths = [w.rows.stop - w.rows.start for w in layout.windows(form, ours, ONE)]
        large = max(layout.STRAIGHT * most, max(lengths) * row)
        assert all(math.prod(w.dims) <= large for w in found)
        assert sorted(rows) == list(range(len(tensor)))


def test_letters_come_from_axes_and_heads_stand_for_key_heads():
    assert layout.parse("((N+K+K) H) D") == [[("N", "K", "K"), "H"], ["D"]]
    names = layout.letters_of(("embed", "kv_heads", "head"))
    assert names == ("D", "K", "H")
    # A norm of all key heads together has the letter of keys, its table may say N.
    x = np.arange(6.0)
    [found] = read("N", x, [(("K",), x)], ALL)
    assert np.array_equal(found, x)


def interleaved(x, turn):
    """Rotate dims (0, 1), (2, 3), ... of x [..., H] by turn [H / 2]."""
    a, b = x[..., 0::2], x[..., 1::2]
    pairs = [a * np.cos(turn) - b * np.sin(turn), b * np.cos(turn) + a * np.sin(turn)]
    return np.stack(pairs, -1).reshape(x.shape)


def halves(x, position, inv_freq):
    """Rotate x [N, H] as the model does."""
    place = jnp.full((1, 1), position)
    found = positions.rotate(jnp.asarray(x)[None, None], place, jnp.asarray(inv_freq))
    return np.asarray(found)[0, 0]


def test_rotary_values_are_those_of_both_published_layouts():
    x, freq = np.array([[1.0, 2, 3, 4]], np.float32), np.array([1, 0.01], np.float32)
    ours = [-1.984111, 1.959901, 2.462378, 4.019800]
    metas = [-1.142640, 1.922076, 2.959851, 4.029800]
    np.testing.assert_allclose(halves(x, 1, freq)[0], ours, rtol=1e-6)
    np.testing.assert_allclose(interleaved(x, freq)[0], metas, rtol=1e-6)


def test_meta_pairs_rotate_the_same_after_import():
    rng = np.random.default_rng(5)
    d, n, h = (SIZES[x] for x in "DNH")
    weights = rng.normal(size=(n * h, d)).astype(np.float32)
    x = rng.normal(size=d).astype(np.float32)
    like = [(("D", "N", "H"), np.empty((d, n, h), np.float32))]
    [ours] = read("(N H/2 2) D", weights, like, SOME)
    freq = np.array([1, 0.01], np.float32)
    theirs = interleaved((weights @ x).reshape(n, h), 3 * freq)
    found = halves(np.einsum("D,DNH->NH", x, ours), 3, freq)
    # Even dims of theirs are the first half of ours.
    expected = np.concatenate([theirs[:, 0::2], theirs[:, 1::2]], 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
