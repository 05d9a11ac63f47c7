"""A run compiled for hardware that is not here: what is sent, what fits, what is said."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
import tiny

from lmtasks import schema
from lmtasks.data import pack
from lmtasks.rehearsal import collectives
from lmtasks.rehearsal import programs
from lmtasks.rehearsal import report
from lmtasks.rehearsal import search
from lmtasks.rehearsal import topology
from lmtasks.training import chips

# Two loops, one whose count XLA knows and one whose condition holds it; on 2 x 4 devices.
MODULE = """
HloModule step, entry_computation_layout={()->f32[]}

%body.1 (p.1: (s32[], f32[16])) -> (s32[], f32[16]) {
  %gather.1 = f32[16,8]{1,0:T(8,128)} all-gather(%p.1), replica_groups=[2,4]<=[8]
  ROOT %t.1 = (s32[], f32[16]) tuple(%p.1)
}

%condition.1 (p.2: (s32[], f32[16])) -> pred[] {
  %constant.1 = s32[]{:T(128)} constant(5)
  ROOT %lt = pred[] compare(%p.2, %constant.1), direction=LT
}

%fused.1 (p.3: f32[4]) -> f32[16] {
  ROOT %gather.2 = f32[32]{0} all-gather(%p.3), replica_groups=[2,4]<=[8]
}

%async_collective_fusion.1 (p.4: f32[4]) -> f32[16] {
  ROOT %gather.3 = f32[32]{0} all-gather(%p.4), replica_groups=[2,4]<=[8]
}

%fused.2 (p.5: f32[4]) -> f32[16] {
  ROOT %gather.4 = f32[32]{0} all-gather(%p.5), replica_groups=[2,4]<=[8]
}

%all-reduce-scatter.3 (input: f32[1024,64], other: bf16[8]) -> (f32[256,64], bf16[2]) {
  %all-reduce.3 = (f32[1024,64], bf16[8]) all-reduce(%input), replica_groups={{0,1,2,3},{4,5,6,7}}
  %cut.1 = f32[256,64]{0,1} dynamic-slice(%all-reduce.3), dynamic_slice_sizes={256,64}
  %cut.2 = bf16[2] dynamic-slice(%all-reduce.3), dynamic_slice_sizes={2}
  ROOT %both = (f32[256,64], bf16[2]) tuple(%cut.1, %cut.2)
}

ENTRY %main (x: f32[16]) -> f32[] {
  %x = f32[16]{0} parameter(0)
  %w.1 = (s32[], f32[16]) while(%x), condition=%condition.1, body=%body.1, backend_config={"known_trip_count":{"n":"3"}}
  %w.2 = (s32[], f32[16]) while(%x), condition=%condition.1, body=%body.1
  %f.1 = (f32[256,64], bf16[2]) fusion(%x), kind=kCustom, calls=%all-reduce-scatter.3
  %sum.1 = f32[10]{0} all-reduce-start(%x), replica_groups=[4,2]<=[2,4]T(1,0), to_apply=%add
  %named.1 = f32[10]{0} all-reduce(%x), replica_groups=mesh['a'=2,'b'=4] {'a'}
  %half.1 = f32[8]{0} all-to-all(%x), replica_groups=mesh['a'=2,'b'=4] {'b':(1)2}
  %alone.1 = f32[8]{0} all-reduce(%x), replica_groups=[8,1]<=[8], to_apply=%add
  %p.9 = (f32[6], f32[6], u32[], u32[]) collective-permute-start(%x), source_target_pairs={{0,0},{1,5}}
  %all.1 = pred[8]{0} all-reduce(%x), replica_groups={}, to_apply=%or
  %async-collective-start.1 = f32[32]{0} fusion(%x), kind=kCustom, calls=%fused.1
  %fusion.9 = f32[32]{0} fusion(%x), kind=kCustom, calls=%async_collective_fusion.1
  %async-collective-done.1 = f32[32]{0} fusion(%x), kind=kCustom, calls=%fused.2
  ROOT %done = f32[] constant(0)
}
"""


def _mesh(data=2, fsdp=4):
    return types.SimpleNamespace(
        shape={"data": data, "fsdp": fsdp},
        axis_names=("data", "fsdp"),
        size=data * fsdp,
    )


def test_what_is_sent_is_counted_by_kind_and_axis():
    found = collectives.of_program(MODULE, _mesh())
    got = {(one.kind, one.axes): (one.count, one.sent) for one in found}
    assert got == {
        # Eight in the loops, and one that runs beside a product.
        ("all-gather", "fsdp"): (3 + 5 + 1, (8 * (16 * 8 * 4) + 32 * 4) * 3 / 4),
        ("reduce-scatter", "fsdp"): (1, (256 * 64 * 4 + 2 * 2) * 3),
        ("all-reduce", "data"): (2, 2 * (2 * 40 / 2)),
        ("all-to-all", "fsdp"): (1, 32 / 2),
        ("collective-permute", "data"): (1, 24),
        ("all-reduce", "data+fsdp"): (1, 2 * 8 * 7 / 8),
    }
    assert [one.sent for one in found] == sorted((o.sent for o in found), reverse=True)


FAR = """
ENTRY %main (x: f32[16]) -> f32[] {
  %x = f32[16]{0} parameter(0)
  %after.1 = token[] after-all()
  %send.1 = (f32[32,8]{1,0:T(8,128)}, u32[], token[]) send(%x, %after.1), channel_id=5, frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
  %done.1 = token[] send-done(%send.1), channel_id=5
  %host.1 = (f32[32,8]{1,0:T(8,128)}, u32[], token[]) send(%x, %after.1), channel_id=6
  ROOT %end = f32[] constant(0)
}
"""


def test_what_goes_to_other_slices_is_along_replica():
    mesh = _mesh()
    slices = [types.SimpleNamespace(slice_index=i // 2) for i in range(6)]
    mesh.devices = np.array(slices)
    (one,) = collectives.of_program(FAR, mesh)
    assert (one.kind, one.axes, one.count) == ("all-reduce", "replica", 1)
    assert one.sent == pytest.approx(2 * (32 * 8 * 4) * 2 / 3)
    v5e = chips.LINKS["v5e"]
    sent = {"fsdp": 2e9, "replica": 1e6}
    wanted = 2e9 / v5e.out + 1e6 / v5e.between
    assert report._sending(sent, v5e, mesh) == pytest.approx(wanted)


def test_a_program_for_one_device_sends_nothing():
    text = jax.jit(lambda x: x @ x).lower(jax.numpy.ones((4, 4))).compile().as_text()
    assert collectives.of_program(text, _mesh(1, 1)) == []


@pytest.mark.parametrize(
    "text, said",
    [
        ("v9:2x2", "there are v4, v5e, v5p, v6e, cpu"),
        ("v5e", "such as v5e:4x4"),
        ("v5e:2x2x2", "2 number(s)"),
        ("v5p:4x4", "such as v5p:2x2x2"),
        ("v6e:0x4", "such as v6e:4x4"),
        ("cpu:2x2", "such as cpu:8"),
    ],
)
def test_a_topology_that_is_none_is_refused(text, said):
    with pytest.raises(ValueError, match=f"--topology='{text}'") as error:
        topology.parse(text)
    assert said in str(error.value)


def test_without_libtpu_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lmtasks\[rehearse\]'"):
        topology.devices_of("v5e:2x2")


def _row(**changes):
    usual = {
        "program": "train", "rows": 8, "kept": 2.0, "used": 5.0, "limit": 10.0,
        "fits": True, "flops": 1.0, "sent": {"fsdp": 1.0}, "exchanges": [],
        "compute": 3.0, "memory": 1.0, "links": 2.0, "bound": 3.0, "mfu": 0.5,
        "advice": "", "compile_seconds": 1.0, "problem": "",
    }  # fmt: skip
    return report.Row(**usual | changes)


@pytest.mark.parametrize(
    "changes, remat, said",
    [
        ({"fits": False, "kept": 9.5, "used": 20.0}, "", "what is kept fills the chip"),
        ({"fits": False, "used": 20.0}, "", "model.remat=full"),
        ({"fits": False, "used": 20.0}, "full", "train.accumulate"),
        ({"fits": False, "program": "decode"}, "", "eval.batch_size"),
        ({"links": 4.0}, "", "sent along fsdp"),
        ({"memory": 4.0}, "", "bound by memory"),
        ({}, "full", "model.remat=dots may fit"),
        ({}, "", "bound by products"),
        ({"bound": None}, "", ""),
    ],
)
def test_the_knob_named_is_that_of_what_is_short(changes, remat, said):
    got = report.advice(_row(**changes), _remat(remat))
    assert said in got and bool(got) == bool(said)


def _remat(remat, kernel="xla"):
    attention = types.SimpleNamespace(implementation=kernel)
    cfg = types.SimpleNamespace(remat=remat, attention=attention)
    return types.SimpleNamespace(model=types.SimpleNamespace(cfg=cfg))


def test_parts_of_the_length_are_not_named_where_they_would_turn_splash_off():
    row = _row(fits=False, used=20.0)
    assert "parallel.sequence" in report.advice(row, _remat("full"))
    assert report.advice(row, _remat("full", "splash")).endswith("batch_size")


@pytest.mark.parametrize(
    ("kind", "faster"),
    [("TPU v5 lite", 2), ("TPU v5", 2), ("TPU v6 lite", 2), ("TPU v4", 1)],
)
def test_products_of_integers_count_at_the_peak_of_integers(kind, faster):
    one = tiny.model(dtype="bfloat16", matmul="int8", layers=3)
    run = types.SimpleNamespace(model=one)
    read = types.SimpleNamespace(train=types.SimpleNamespace(shape=pack.Shape((64,))))
    device = types.SimpleNamespace(device_kind=kind)
    mesh = types.SimpleNamespace(devices=np.array([device] * 4), size=4)
    peak = 4 * chips.peak_flops(device, "bfloat16")
    by_weights = 3 * (4 * 32 * 32 + 2 * 32 * 48)  # multiply-adds of a token
    others = 3 * 2 * 64 * 32 + 32 * tiny.VOCAB  # scores, values and the vocabulary
    seconds = (by_weights / faster + others) / (by_weights + others)
    got = report._peak("train", run, mesh, read)
    assert got == pytest.approx(peak / seconds)
    assert report._peak("decode", run, mesh, read) == peak
    run.model = tiny.replace(one, matmul="")
    assert report._peak("train", run, mesh, read) == peak


def test_the_compilers_need_is_read_from_its_words():
    said = "RESOURCE_EXHAUSTED: Ran out of memory in hbm. Used 15.95G of 15.75G hbm."
    assert programs.needed(said) == 15.95 * 2**30
    said = "required for HLO temporaries (298.12G) exceeds available HBM (15.75G)."
    assert programs.needed(said) == 298.12 * 2**30
    assert programs.needed("nothing of it") is None


def _faked(run, read, where, devices, steps):
    """A device that fits 4 rows without recomputation, 8 with; less time with tensor."""
    slices, rows = topology.parse(where)[2], run.config.train.batch_size
    assert (devices, steps) == ([None] * 4 * slices, ("train",))
    sequence, tensor = run.parallel.sequence, run.parallel.tensor
    fsdp = 4 // sequence // tensor
    assert run.parallel.sizes(len(devices)) == (slices, 1, fsdp, sequence, tensor)
    assert run.model.cfg.remat == run.config.model.remat
    row = _row(rows=rows, bound=rows / tensor, used=None)
    fits = rows <= (8 if run.model.cfg.remat == "full" else 4)
    return {"rows": [dataclasses.asdict(row) | {"fits": fits}]}


def _searched(monkeypatch, rows, devices=4, where="v5e:2x2"):
    """Return what a search finds on four such devices, and what it told on the way."""
    monkeypatch.setattr(report, "of_run", _faked)
    monkeypatch.setattr(topology, "devices_of", lambda where: [None] * devices)
    config = schema.load("quickstart")
    config.train.batch_size = rows
    told = []
    return search.search(config, where, told.append), told


def test_a_search_climbs_until_it_does_not_fit_and_ranks_what_does(monkeypatch):
    found, told = _searched(monkeypatch, 4)
    names = ("parallel.sequence", "parallel.tensor", "model.remat")
    tried = [(*map(x["keys"].get, names), x["row"]["rows"]) for x in found]
    assert sorted(tried) == sorted(
        (*parts, remat, rows)
        for parts in ((1, 1), (1, 2), (1, 4), (2, 1), (2, 2))
        for remat in ("full", "dots", "")
        for rows in ((4, 8, 16) if remat == "full" else (4, 8))
    )
    costs = [tensor for _, tensor, _, _ in tried[:20]]
    assert costs == sorted(costs, reverse=True) and costs[:4] == [4] * 4
    assert [x["row"]["fits"] for x in found] == [True] * 20 + [False] * 15
    lines = [search.line(one) for one in told]
    assert len(lines) == 35 and sum("does not fit" in text for text in lines) == 15
    assert "fsdp=1    sequence=1  tensor=4  remat=full  rows=8" in "".join(lines)


def test_a_search_over_slices_makes_each_a_replica(monkeypatch):
    found, _ = _searched(monkeypatch, 8, devices=8, where="v5e:2x2*2")
    assert {x["keys"]["parallel.replica"] for x in found} == {2}
    assert {x["keys"]["parallel.fsdp"] for x in found} == {1, 2, 4}


def test_a_search_without_rows_for_all_devices_says_so(monkeypatch):
    monkeypatch.setattr(search, "TENSOR", (1,))
    monkeypatch.setattr(search, "SEQUENCE", (1,))
    with pytest.raises(ValueError, match="over 8 devices and train.accumulate=1"):
        _searched(monkeypatch, 1, devices=8)


def test_a_search_needs_devices_of_which_something_is_known():
    with pytest.raises(ValueError, match="name a TPU topology"):
        search.search(schema.load("quickstart"), "cpu:4")


def _rehearse(tmp_path, where, *flags, env=None):
    out = tmp_path / "rows.jsonl"
    argv = ["rehearse", f"--topology={where}", f"--json={out}", *flags]
    done = subprocess.run(
        [sys.executable, "-m", "lmtasks", *argv],
        capture_output=True,
        check=False,
        text=True,
        env=os.environ | (env or {}),
    )
    return done, json.loads(out.read_text()) if out.exists() else None


@pytest.mark.process
def test_devices_of_this_cpu_stand_in_for_a_mesh(tmp_path):
    flags = ["--config=quickstart", "--config.model.scan_layers=True"]
    flags += ["--config.parallel.fsdp=2", "--config.parallel.tensor=2"]
    done, found = _rehearse(tmp_path, "cpu:4", *flags)
    assert done.returncode == 0, done.stderr
    sizes = {"data": 1, "fsdp": 2, "sequence": 1, "tensor": 2}
    assert found["mesh"] == {"replica": 1} | sizes and found["attention"] == ""
    rows = {row["program"]: row for row in found["rows"]}
    assert list(rows) == ["train", "eval", "decode"] and found["devices"] == 4
    train = rows["train"]
    # Parameters and Adam's two moments of float32, a quarter of most on each device.
    whole = 3 * 4 * found["parameters"]
    assert whole / 4 < train["kept"] < whole / 3 and train["used"] > train["kept"]
    assert train["sent"]["fsdp"] > 0 and train["sent"]["tensor"] > 0
    assert train["flops"] == pytest.approx(
        rows["eval"]["flops"] * 3 * train["rows"] / rows["eval"]["rows"]
    )
    assert train["bound"] is None and train["limit"] == 0  # nothing known of this chip
    assert "train, " in done.stdout and "all-reduce" in done.stdout


@pytest.mark.process
def test_steps_that_are_none_are_refused(tmp_path):
    flags = ["--config=quickstart", "--steps=train,serve"]
    done, found = _rehearse(tmp_path, "cpu:2", *flags)
    assert done.returncode == 2 and found is None
    assert "'serve' is not one of train, eval, decode" in done.stderr


LIBTPU = importlib.util.find_spec("libtpu") or os.environ.get("TPU_LIBRARY_PATH")


@pytest.mark.process
@pytest.mark.skipif(not LIBTPU, reason="libtpu is not installed")
def test_a_step_compiles_for_tpus_and_one_too_large_is_an_answer(tmp_path):
    flags = ["--config=quickstart", "--config.parallel.fsdp=4", "--steps=train"]
    done, found = _rehearse(tmp_path, "v5e:2x2", *flags)
    assert done.returncode == 0, done.stderr
    row = found["rows"][0]
    assert found["chip"] == "TPU v5 lite" and row["fits"] and 0 < row["mfu"] < 1
    assert row["bound"] == max(row["compute"], row["memory"], row["links"])
    (tmp_path / "rows.jsonl").unlink()
    large = ["--config.model.width=8192", "--config.model.mlp=65536"]
    large += ["--config.model.layers=8", "--config.model.scan_layers=True"]
    done, found = _rehearse(tmp_path, "v5e:2x2", *flags, *large)
    assert done.returncode == 1 and not found["rows"][0]["fits"]
    assert "DOES NOT FIT" in done.stdout and "parallel.fsdp" in done.stdout


@pytest.mark.process
@pytest.mark.skipif(not LIBTPU, reason="libtpu is not installed")
def test_two_slices_exchange_gradients_and_attention_is_the_kernels(tmp_path):
    flags = ["--config=quickstart", "--config.parallel.replica=2", "--steps=train"]
    flags += ["--config.parallel.data=1", "--config.parallel.fsdp=4"]
    flags += ["--config.model.attention.implementation=auto"]
    flags += ["--config.model.attention.head_dim=64"]
    done, found = _rehearse(tmp_path, "v5e:2x2*2", *flags)
    assert done.returncode == 0, done.stderr
    assert found["devices"] == 8 and found["mesh"]["replica"] == 2
    assert found["attention"] == "attention by splash: auto"
    sent = found["rows"][0]["sent"]
    assert any("replica" in axes.split("+") for axes in sent) and sent["fsdp"] > 0
    alone = [flag for flag in flags if "replica" not in flag]
    done, _ = _rehearse(tmp_path, "v5e:2x2*2", *alone, "--config.parallel.fsdp=8")
    assert done.returncode == 2
    assert "the devices are of 2 slices" in done.stderr


@pytest.mark.process
@pytest.mark.skipif(not LIBTPU, reason="libtpu is not installed")
@pytest.mark.parametrize("where", ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_the_kernel_of_attention_compiles_for_each_chip(where, tmp_path):
    flags = ["--config=quickstart", "--config.parallel.fsdp=4", "--steps=train,eval"]
    flags += ["--config.model.attention.implementation=auto"]
    flags += ["--config.model.attention.head_dim=64"]
    done, found = _rehearse(tmp_path, where, *flags)
    assert done.returncode == 0, done.stderr
    assert found["attention"] == "attention by splash: auto"
    assert [row["fits"] for row in found["rows"]] == [True, True]


@pytest.mark.parametrize("text", ["v5e:2x2*0", "v5e:2x2*x", "cpu:8*2"])
def test_slices_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r"SHAPE\*COUNT"):
        topology.parse(text)


def test_slices_are_read():
    assert topology.parse("v5e:16x16*4") == ("v5e", (16, 16), 4)
    assert topology.parse("cpu:8") == ("cpu", (8,), 1)
