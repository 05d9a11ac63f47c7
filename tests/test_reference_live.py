"""Against transformers itself, where it is installed: both ways for every family."""

import json
import sys

import numpy as np
import pytest
from reference import cases
from reference import make
from reference import values
from test_import_export import STORIES
from test_import_export import STORY
from test_import_export import do
from test_reference import TOLERANCE
from test_reference import batch_of
from test_reference import difference
from test_reference import fixture
from test_reference import read
from test_reference import write

import lmtasks
from lmtasks.data import directory
from lmtasks.hf import writing
from lmtasks.training import masks

pytest.importorskip("transformers", reason="the extra [parity] is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("name", cases.CASES)
def test_the_fixture_is_what_transformers_computes(name, tmp_path):
    config, shapes = make.save(name, tmp_path)
    said, state, recorded = fixture(name)
    versions = ("transformers_version",)
    assert {k: v for k, v in config.items() if k not in versions} == {
        k: v for k, v in said.items() if k not in versions
    }
    assert values.state(name, shapes).keys() == state.keys()
    batch = values.batch(config.get("type_vocab_size", 0), "d_model" in config)
    found = make.outputs(make.load(name, tmp_path), batch)
    there = batch["positions"] >= 0
    for key, x in recorded.items():
        kept = there if x.ndim == 3 else slice(None)
        np.testing.assert_allclose(found[key][kept], x[kept], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", cases.CASES)
def test_transformers_loads_what_is_exported(name, tmp_path):
    """From a config.json written anew, with other values than the fixture's."""
    found, model, params = read(write(name, tmp_path / "in"))
    flat = {key: 0.9 * np.asarray(x) for key, x in masks.flat(params).items()}
    labels = found.labels or tuple("abc")[: model.classes]
    out = tmp_path / "out"
    with directory.new_directory(out) as partial:
        export = writing.Export(
            found.family, found.kind, model, labels, base=_ids(found)
        )
        writing.write_weights(partial, export, flat)
    theirs = make.load(name, out)
    rows = batch_of(name, model)
    wanted = make.outputs(theirs, rows)["logits"]
    again = read(out)
    assert difference(name, *again[1:], reference=wanted) < TOLERANCE
    assert json.loads((out / "config.json").read_text())["model_type"] == found.kind
    assert "torch" in sys.modules


def _ids(found):
    return {k: v for k, v in found.values.items() if k.endswith("_token_id")}


@pytest.mark.skipif(not STORIES.is_dir(), reason="no ../shared/weights/stories260K")
def test_transformers_loads_a_real_model_with_equal_logits_and_ids(tmp_path):
    import torch
    import transformers

    work, out = tmp_path / "work", tmp_path / "out"
    do("import", f"--from={STORIES}", f"--workdir={work}")
    do("export", f"--workdir={work}", f"--to={out}")
    loaded = lmtasks.load(str(work))
    tokenizer = loaded.run.tokenizer
    ids = [tokenizer.bos_id, *tokenizer.encode(STORY)]
    tokens = np.array([ids], np.int32)
    rows = {"tokens": tokens, "positions": np.arange(len(ids), dtype=np.int32)[None]}
    ours = np.asarray(loaded.run.model.apply(loaded.params, rows))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out)
    with torch.no_grad():
        wanted = theirs(torch.tensor(tokens).long()).logits.numpy()
    assert np.abs(ours - wanted).max() < TOLERANCE * wanted.std()
    found = transformers.AutoTokenizer.from_pretrained(out)
    assert found(STORY, add_special_tokens=False).input_ids == ids[1:]
