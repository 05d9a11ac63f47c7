"""Where records come from, in which order, and what is said where they do not."""

import gzip
import itertools
import json
import pathlib
import pickle

import numpy as np
import pytest

from lmtasks.data import pydocs
from lmtasks.data import readers
from lmtasks.data import records
from lmtasks.data import sources
from lmtasks.data import tfds_files
from lmtasks.data import tfds_write

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "data"
MADE = sources.Source.memory(
    {
        "train": [{"text": f"t{i}"} for i in range(5)],
        "test": [{"text": "made"}],
    }
)


def write(folder, **files):
    """Write name_ending=text files and return the folder."""
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(folder)


def options(folder="", **more):
    return sources.DataOptions(dir=str(folder), **more)


def opened(source, split, *args, **more):
    return list(sources.open_split(source, split, options(*args, **more)))


def test_files_come_before_the_folder_and_the_folder_before_what_is_made(tmp_path):
    write(
        tmp_path, train_jsonl='{"text": "folder"}\n', other_jsonl='{"text": "file"}\n'
    )
    assert len(opened(MADE, "train")) == 5
    assert opened(MADE, "train", tmp_path) == [{"text": "folder"}]
    files = {"train": "other.jsonl"}
    assert opened(MADE, "train", tmp_path, files=files) == [{"text": "file"}]
    files = {"train": str(tmp_path / "other.jsonl")}
    assert opened(MADE, "train", files=files) == [{"text": "file"}]


def test_own_files_are_never_mixed_with_generated_splits(tmp_path):
    write(tmp_path, train_jsonl='{"text": "a"}\n')
    with pytest.raises(ValueError, match="no split 'test', but train"):
        opened(MADE, "test", tmp_path)
    with pytest.raises(ValueError, match="no split 'test', but train"):
        opened(MADE, "test", files={"train": str(tmp_path / "train.jsonl")})


def test_splits_are_known_without_reading_them(tmp_path):
    write(tmp_path, train_csv="broken", dev_tsv="x", readme_md="x", test_json_gz="x")
    source = sources.Source()
    assert sources.split_names(source, options(tmp_path)) == ["train", "test", "dev"]
    assert sources.has_split(source, "dev", options(tmp_path))
    assert not sources.has_split(source, "validation", options(tmp_path))
    assert sources.split_names(MADE) == ["train", "test"]
    assert sources.split_names(source) == []


def test_default_files_may_be_patterns_globs_and_gzipped(tmp_path):
    write(
        tmp_path,
        a1_jsonl='{"text": "1"}\n',
        a2_jsonl='{"text": "2"}\n{"text": "3"}\n',
        train_en_gz="x\n",
        train_de="y\n",
    )
    source = sources.Source(files={"train": "a*.jsonl"})
    found = sources.open_split(source, "train", options(tmp_path))
    assert [r["text"] for r in found] == ["1", "2", "3"]
    assert [found.where(i).split("/")[-1] for i in (0, 1, 2, -1)] == [
        "a1.jsonl:1",
        "a2.jsonl:1",
        "a2.jsonl:2",
        "a2.jsonl:2",
    ]
    pair = sources.Source(files={"*": "{split}.en+{split}.de"})
    named = {"source_language": "en", "target_language": "de"}
    assert opened(pair, "train", tmp_path) == [{"source": "x", "target": "y", **named}]


def test_a_plus_in_a_real_file_name_is_no_parallel_text(tmp_path):
    (tmp_path / "c++.txt").write_text("int\n")
    source = sources.Source()
    assert opened(source, "train", tmp_path, files={"train": "c++.txt"}) == [
        {"text": "int"}
    ]


def test_fields_rename_columns_and_keep_the_rest(tmp_path):
    write(tmp_path, train_csv="review,stars,id\ngood,5,a\n", test_tsv="bad\t1\n")
    source = sources.Source(fields={"label": "stars"})
    assert opened(source, "train", tmp_path) == [
        {"review": "good", "label": "5", "id": "a"}
    ]
    fields = {"text": "review"}
    assert opened(source, "train", tmp_path, fields=fields) == [
        {"text": "good", "label": "5", "id": "a"}
    ]
    numbered = sources.Source(fields={"text": 0, "label": 1})
    assert opened(numbered, "test", tmp_path) == [{"text": "bad", "label": "1"}]


def test_a_files_own_header_wins_over_the_tasks_column_numbers(tmp_path):
    write(tmp_path, train_tsv="review\tstars\ngood\t5\n", test_jsonl='{"text": "a"}\n')
    source = sources.Source(files={"*": "{split}.tsv"}, fields={"text": 0, "label": 1})
    fields = {"text": "review", "label": "stars"}
    assert opened(source, "train", tmp_path, fields=fields) == [
        {"text": "good", "label": "5"}
    ]
    # A file of another format is not laid out as the task's own.
    assert opened(source, "test", tmp_path) == [{"text": "a"}]


def test_a_header_where_columns_are_numbered_is_noticed(tmp_path):
    write(tmp_path, train_tsv="Text\tlabel\ngood\t5\n")
    source = sources.Source(fields={"text": 0, "label": 1})
    with pytest.raises(ValueError, match="is a header.*config.data.fields.text=Text"):
        opened(source, "train", tmp_path)


def test_a_missing_column_names_the_nearest(tmp_path):
    write(tmp_path, train_csv="review,stars\ngood,5\n")
    with pytest.raises(ValueError) as error:
        opened(sources.Source(), "train", tmp_path, fields={"text": "reviews"})
    assert "train.csv:2: no column 'reviews' among review, stars" in str(error.value)
    assert "did you mean 'review'?" in str(error.value)


def jsonl(count, bad):
    rows = [json.dumps({"text": f"t{i}", "n": i}) for i in range(count)]
    for i in bad:
        rows[i] = "{"
    return "\n".join(rows) + "\n"


def test_a_malformed_record_stops_the_run_with_file_and_line(tmp_path):
    write(tmp_path, train_jsonl=jsonl(40, [6, 9]))
    with pytest.raises(ValueError) as error:
        opened(sources.Source(), "train", tmp_path)
    assert f"{tmp_path}/train.jsonl:7: not valid JSON" in str(error.value)
    assert "fix the line or set config.data.on_error=skip" in str(error.value)


def test_malformed_records_are_skipped_and_counted_when_asked(tmp_path):
    write(tmp_path, train_jsonl=jsonl(40, [6, 9]))
    found = sources.open_split(
        sources.Source(), "train", options(tmp_path, on_error="skip")
    )
    assert len(found) == 38 and found.skipped == 2
    places = [p.split("/")[-1].split(": ")[0] for p in found.skipped_places]
    assert places == ["train.jsonl:7", "train.jsonl:10"]
    assert found[6] == {"text": "t7", "n": 7}
    assert found.where(6).endswith("train.jsonl:8")


def test_more_than_a_tenth_malformed_is_refused_even_when_skipping(tmp_path):
    write(tmp_path, train_jsonl=jsonl(40, range(5)), test_jsonl=jsonl(40, range(4)))
    with pytest.raises(
        ValueError, match="5 of 40 records are malformed, more than 10%"
    ):
        opened(sources.Source(), "train", tmp_path, on_error="skip")
    assert len(opened(sources.Source(), "test", tmp_path, on_error="skip")) == 36


def test_a_record_that_the_task_cannot_use_is_malformed(tmp_path):
    write(tmp_path, train_csv="text,n\n" + "a,1\n" * 30 + "b,x\n" + "c,3\n")

    def check(record):
        return int(record["n"]), record["text"]

    skip = options(tmp_path, on_error="skip")
    found = sources.open_split(sources.Source(), "train", skip, check)
    assert len(found) == 31
    assert "train.csv:32: the task cannot use the record" in found.skipped_places[0]
    with pytest.raises(
        ValueError, match="the field 'm' is missing; the record has text"
    ):
        sources.open_split(sources.Source(), "train", skip, lambda record: record["m"])


@pytest.mark.parametrize(
    "content, where",
    [
        (b'{"text": "a"}\n{"text": "\xff"}\n', "train.jsonl:2: byte 0xff"),
        (b'{"text": "a"}\n{"text": "\0"}\n', "train.jsonl:2: NUL byte"),
        (b'{"text": "a"}\n[1]\n', "train.jsonl:2: the columns have no names"),
        (b'{"text": "a"}\nnull\n', "train.jsonl:2: a JSON object is expected"),
        (b"", "train.jsonl holds no records"),
        (b"\n \n", "train.jsonl holds no records"),
    ],
)
def test_bad_files_are_explained_in_one_sentence(tmp_path, content, where):
    write(tmp_path, train_jsonl=content)
    with pytest.raises(ValueError) as error:
        opened(sources.Source(), "train", tmp_path)
    assert where in str(error.value) and "\n" not in str(error.value)


def test_a_cut_off_gzip_file_can_be_skipped_at_its_end(tmp_path):
    rows = "".join(json.dumps({"n": i * 7919 % 100_003}) + "\n" for i in range(20_000))
    data = gzip.compress(rows.encode())
    (tmp_path / "train.jsonl.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="the gzip file is cut off"):
        opened(sources.Source(), "train", tmp_path)
    found = sources.open_split(
        sources.Source(), "train", options(tmp_path, on_error="skip")
    )
    assert found.skipped == 1 and 5_000 < len(found) < 20_000


def test_missing_files_and_folders_are_named(tmp_path):
    source = sources.Source()
    with pytest.raises(FileNotFoundError, match="config.data.dir=.*none is no folder"):
        opened(source, "train", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="none is no folder"):
        sources.has_split(source, "train", options(tmp_path / "none"))
    with pytest.raises(
        FileNotFoundError, match="config.data.files.train=no.txt is not"
    ):
        opened(source, "train", files={"train": "no.txt"})
    with pytest.raises(ValueError, match="holds no data: neither train.jsonl"):
        opened(source, "train", tmp_path)
    with pytest.raises(ValueError, match="the task brings no data"):
        opened(source, "train")


def test_two_files_for_one_split_ask_which(tmp_path):
    write(tmp_path, train_csv="a\n1\n", train_jsonl="{}\n")
    with pytest.raises(ValueError, match="config.data.files.train="):
        opened(sources.Source(), "train", tmp_path)


def test_other_files_of_the_folder_do_not_matter(tmp_path):
    write(tmp_path, train_csv="a\n1\n", note_csv="a\n", note_txt="", image_png="")
    assert opened(sources.Source(), "train", tmp_path) == [{"a": "1"}]
    assert sources.has_split(sources.Source(), "train", options(tmp_path))


def test_an_unknown_format_or_option_names_those_there_are(tmp_path):
    write(tmp_path, train_foo="x")
    files = {"train": "train.foo"}
    with pytest.raises(ValueError, match="has no format.*jsonl"):
        opened(sources.Source(), "train", tmp_path, files=files)
    with pytest.raises(ValueError, match="did you mean 'conll'"):
        opened(sources.Source(), "train", tmp_path, files=files, format="conl")
    with pytest.raises(ValueError, match="data.on_error='ignore' is not one of raise"):
        options(on_error="ignore")
    with pytest.raises(ValueError, match="data.limit=-1"):
        options(limit=-1)


def test_a_limit_takes_the_first_records_of_any_source(tmp_path):
    write(tmp_path, train_jsonl=jsonl(9, [5]))
    assert [r["n"] for r in opened(sources.Source(), "train", tmp_path, limit=3)] == [
        0,
        1,
        2,
    ]
    some = sources.open_split(MADE, "train", options(limit=2))
    assert list(some) == [{"text": "t0"}, {"text": "t1"}] and some[-1]["text"] == "t1"
    assert len(sources.open_split(MADE, "train", options(limit=50))) == 5
    with pytest.raises(IndexError, match="none at 2"):
        some[2]


def test_own_readers_and_formats_are_used_for_files_like_the_tasks_own(tmp_path):
    def read(path):
        for number, line in readers.lines(path):
            bad = readers.Bad("no number") if not line.isdigit() else None
            yield number, bad or {"n": int(line)}

    write(tmp_path, train_num="1\n2\nx\n" + "3\n" * 20, test_jsonl='{"n": 0}\n')
    source = sources.Source(files={"*": "{split}.num"}, read=read)
    with pytest.raises(ValueError, match="train.num:3: no number"):
        opened(source, "train", tmp_path)
    assert len(opened(source, "train", tmp_path, on_error="skip")) == 22
    assert opened(source, "test", tmp_path) == [{"n": 0}]
    (tmp_path / "book.txt").write_text("a\n\nb\n")
    book = sources.Source(files={"train": "book.txt"}, format="document")
    assert opened(book, "train", tmp_path) == [{"text": "a\n\nb\n"}]
    assert len(opened(book, "train", tmp_path, format="paragraphs")) == 2


def test_the_fingerprint_follows_content_and_layout_but_not_the_place(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write(tmp_path / "a", train_csv="x,y\n1,2\n3,4\n")
    two = write(tmp_path / "b", train_csv="x,y\n1,2\n3,4\n")

    def mark(folder, **more):
        source = sources.Source()
        return sources.open_split(source, "train", options(folder, **more)).fingerprint

    assert mark(one) == mark(two)
    others = [mark(one, limit=1), mark(one, fields={"text": "x"})]
    write(tmp_path / "b", train_csv="x,y\n1,2\n3,5\n")
    others.append(mark(two))
    assert len({mark(one), *others}) == 4


def test_the_fingerprint_of_made_records_follows_the_seed():
    def make(split, seed):
        return [{"text": f"{split} {seed} {i}"} for i in range(3)]

    source = sources.Source(make=make)
    marks = {
        sources.open_split(source, split, options(seed=seed)).fingerprint
        for split, seed in itertools.product(("train", "test"), (0, 1))
    }
    assert len(marks) == 4
    found = sources.open_split(source, "train", options(seed=7))
    assert found[0] == {"text": "train 7 0"} and found.where(1) == "train record 1"
    with pytest.raises(ValueError, match="no split 'tran'.*did you mean 'train'"):
        sources.open_split(source, "tran")


def test_records_index_like_a_sequence_and_travel_to_other_processes(tmp_path):
    write(tmp_path, train_jsonl=jsonl(4, []))
    found = sources.open_split(sources.Source(), "train", options(tmp_path))
    assert found[np.int64(-1)]["n"] == 3 and len(found) == 4
    with pytest.raises(IndexError):
        found[4]
    again = pickle.loads(pickle.dumps(found))
    assert list(again) == list(found) and again.where(2) == found.where(2)


def test_squad_answers_have_one_form_wherever_they_come_from():
    pairs = [("cat", 4), ("the cat", 0)]
    forms = (
        [{"text": t, "answer_start": s} for t, s in pairs],
        {"text": [t for t, _ in pairs], "answer_start": [s for _, s in pairs]},
        [list(pair) for pair in pairs],
        pairs,
    )
    for form in forms:
        assert records.answers({"answers": form, "id": "1"}) == {
            "answers": pairs,
            "id": "1",
        }
    empty = {"answers": {"text": [], "answer_start": []}}
    assert records.answers(empty) == {"answers": []}
    for other in (["Jason Lee"], [], "yes", None):
        assert records.answers({"answers": other}) == {"answers": other}


RECORDS = [
    {
        "text": "h\u00e9llo\n",
        "n": 2**62,
        "score": 0.1,
        "ok": True,
        "words": ["a", "\u00e9"],
        "answers": [("h", 0)],
        "turns": [{"role": "user", "text": "hi"}, {"role": "bot", "text": "yo"}],
    },
    {
        "text": "",
        "n": -3,
        "score": 1e300,
        "ok": False,
        "words": [],
        "answers": [],
        "turns": [],
    },
]


def in_memory(**splits):
    """Return {split: Records} of lists."""
    source = sources.Source.memory(splits)
    return {split: sources.open_split(source, split) for split in splits}


@pytest.fixture(name="prepared", scope="module")
def _prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds") / "mine"
    tfds_write.write(str(folder), "mine", in_memory(train=RECORDS, test=RECORDS[:1]))
    return folder


def test_a_prepared_directory_reads_back_as_it_was_written(prepared):
    found = sources.open_split(sources.Source(), "train", options(prepared))
    assert list(found) == RECORDS
    kinds = {key: type(value) for key, value in found[0].items()}
    assert kinds == {key: type(value) for key, value in RECORDS[0].items()}
    assert found.where(1) == "mine/1.0.0 train record 1"
    assert opened(sources.Source(), "train", prepared, limit=1) == RECORDS[:1]
    assert sources.split_names(sources.Source(), options(prepared)) == ["train", "test"]


def test_columns_of_a_prepared_directory_can_be_renamed(prepared):
    (first, _) = opened(sources.Source(), "train", prepared, fields={"label": "n"})
    assert first["label"] == 2**62 and "n" not in first
    with pytest.raises(ValueError, match="no column 'm' among"):
        opened(sources.Source(), "train", prepared, fields={"label": "m"})


def test_a_split_that_a_prepared_directory_lacks_is_named(prepared):
    with pytest.raises(ValueError, match="no split 'validation', but train, test"):
        opened(sources.Source(), "validation", prepared)


def test_split_expressions_hold_for_the_catalogues_own_data_set_only(prepared):
    splits = {"train": "train[:50%]", "validation": "train[50%:]", "test": "nope"}
    own = sources.Source(tfds="mine", splits=splits)
    assert opened(own, "train", prepared) == RECORDS[:1]
    assert opened(own, "validation", prepared) == RECORDS[1:]
    assert not sources.has_split(own, "test", options(prepared))
    other = sources.Source(tfds="theirs", splits=splits)
    assert opened(other, "train", prepared) == RECORDS
    assert not sources.has_split(other, "validation", options(prepared))


def test_a_data_set_below_the_folder_is_found_by_name_and_newest_version(tmp_path):
    for name, version, count in (
        ("a", "1.2.0", 1),
        ("a", "1.10.0", 2),
        ("b", "1.0.0", 1),
    ):
        folder = tmp_path / name / version
        folder.parent.mkdir(exist_ok=True)
        tfds_write.write(str(folder), name, in_memory(train=RECORDS[:count]))
    assert len(opened(sources.Source(tfds="a"), "train", tmp_path)) == 2
    assert len(opened(sources.Source(), "train", tmp_path / "a")) == 2
    with pytest.raises(
        ValueError, match="several data sets .*b/1.0.0.*config.data.dir"
    ):
        opened(sources.Source(), "train", tmp_path)
    write(tmp_path, readme_txt="about these data sets")
    assert len(opened(sources.Source(tfds="a"), "train", tmp_path)) == 2
    write(tmp_path, train_jsonl='{"text": "local"}\n')
    assert opened(sources.Source(tfds="a"), "train", tmp_path) == [{"text": "local"}]


def test_a_damaged_or_unreadable_prepared_directory_is_explained(prepared, tmp_path):
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match="not a sound TFDS description"):
        opened(sources.Source(), "train", tmp_path)
    info = json.loads((prepared / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    features = (prepared / "features.json").read_text()
    (tmp_path / "features.json").write_text(features)
    with pytest.raises(ValueError, match="tfds convert_format --dataset_version_dir="):
        opened(sources.Source(), "train", tmp_path)


def test_catalogue_names_are_suggested_and_nothing_is_downloaded(monkeypatch, capfd):
    import tensorflow_datasets as tfds

    def refuse(self):
        raise AssertionError("a download was tried")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    for name, said in (
        ("glu/sst2", "no 'glu/sst2'; near it are glue"),
        ("glue/wnli", "glue/wnli is not prepared.*download_and_prepare"),
        ("glue/nosuch", "glue/nosuch"),
        ("super_glue/rte", "No module named 'tensorflow'.*; prepare it elsewhere"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            opened(sources.Source(tfds=name), "train")
        assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_records_of_the_catalogue_are_plain(tmp_path):
    import tensorflow_datasets as tfds

    policy = tfds.testing.MockPolicy.USE_CODE
    with tfds.testing.mock_data(num_examples=3, policy=policy):
        found = opened(sources.Source(tfds="glue/sst2"), "train")
        (squad, *_) = opened(sources.Source(tfds="squad"), "train")
    assert len(found) == 3 and set(found[0]) == {"idx", "label", "sentence"}
    assert type(found[0]["label"]) is int and type(found[0]["sentence"]) is str
    assert all(type(t) is str and type(s) is int for t, s in squad["answers"])


def test_what_tfds_cannot_hold_is_refused_by_place(tmp_path):
    for value, what in (
        (None, "holds null"),
        ([["a"]], "holds a list inside"),
        ([{"a": ["b"]}], "holds a list inside"),
        (2**63, "is 9223372036854775808, which 64 bits"),
        ([1, "a"], "is a list of str here and a list of int before"),
        ([{"a": 1}, {"b": 1}], "is a list of dicts that differ"),
    ):
        splits = in_memory(train=[{"x": value}])
        with pytest.raises(ValueError, match=f"train record 0: 'x' {what}"):
            tfds_write.write(str(tmp_path / "new"), "new", splits)
    splits = in_memory(train=[{"x": 1}, {"x": "a"}])
    with pytest.raises(ValueError, match="train record 1: 'x' is str here and int"):
        tfds_write.write(str(tmp_path / "new"), "new", splits)
    splits = in_memory(train=[{"x": 1}], test=[{"y": 1}])
    with pytest.raises(ValueError, match=r"test record 0: .* \(x, y\)"):
        tfds_write.write(str(tmp_path / "new"), "new", splits)
    with pytest.raises(ValueError, match="'A b' cannot name a data set"):
        tfds_write.write(str(tmp_path / "new"), "A b", in_memory(train=[{"x": 1}]))
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_both_kinds_become_floats_and_empty_lists_take_any_type(tmp_path):
    rows = [{"x": 1, "l": []}, {"x": 0.5, "l": ["a"]}, {"x": 2, "l": []}]
    tfds_write.write(str(tmp_path / "new"), "new", in_memory(train=rows))
    assert opened(sources.Source(), "train", tmp_path / "new") == rows


def test_an_unfinished_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(tfds_write, "_examples", fail)
    with pytest.raises(OSError, match="disk full"):
        tfds_write.write(str(tmp_path / "new"), "new", in_memory(train=[{"x": 1}]))
    assert list(tmp_path.iterdir()) == []


def test_lists_of_dicts_are_found_below_other_dicts():
    value = {
        "a": {"b": {"c": [b"x", b"y"], "n": [np.int64(1), np.int64(2)]}},
        "image": np.zeros((2, 2)),
        "flags": np.array([True, False]),
    }
    plain = records.plain({"rows": value["a"]["b"], **value}, {"rows": {}})
    assert plain["rows"] == [{"c": "x", "n": 1}, {"c": "y", "n": 2}]
    assert plain["a"] == {"b": {"c": ["x", "y"], "n": [1, 2]}}
    assert plain["image"].shape == (2, 2) and plain["flags"] == [True, False]


def test_pydocs_is_real_text_in_three_disjoint_splits():
    names, sizes = {}, {}
    for split in sources.SPLITS:
        found = pydocs.records(split, 0)
        names[split] = {record["name"] for record in found}
        sizes[split] = sum(len(record["text"]) for record in found)
        assert found == pydocs.records(split, 1)
    assert sum(map(len, names.values())) == len(set().union(*names.values()))
    assert 3_000_000 < sum(sizes.values()) < 7_000_000
    assert all(100_000 < sizes[s] < sizes["train"] / 5 for s in ("validation", "test"))
    with pytest.raises(ValueError, match="no split 'dev'"):
        pydocs.records("dev", 0)


def test_data_sets_side_by_side_are_not_versions_of_one(tmp_path):
    for path in ("a/config/1.0.0", "b"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "dataset_info.json").write_text("{}")
    wanted = str(tmp_path / "a" / "config" / "1.0.0")
    assert tfds_files.folder_of(str(tmp_path), "a/config") == wanted
    assert tfds_files.folder_of(str(tmp_path / "a"), "") == wanted
    assert tfds_files.folder_of(str(tmp_path / "b"), "") == ""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "dataset_info.json").write_text("{}")
    with pytest.raises(ValueError, match=r"\(a/config/1.0.0, b, c\)"):
        tfds_files.folder_of(str(tmp_path), "")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize(
    "folder, source, counts",
    [
        (
            "sentiment/sst2",
            sources.Source(
                files={"*": "{split}.tsv"}, fields={"sentence": 0, "label": 1}
            ),
            (6920, 436, 436),
        ),
        (
            "nli/sick",
            sources.Source(fields={"label": "entailment_judgment"}),
            (4500, 500, 2463),
        ),
        ("extractive_qa/adversarial_qa", sources.Source(), (484, 58, 58)),
        ("math/gsm8k", sources.Source(), (6973, 500, 660)),
        ("instruction/lima", sources.Source(), (829, 50, 50)),
    ],
)
def test_real_folders_have_as_many_records_as_published(folder, source, counts):
    found = [len(opened(source, s, SHARED / folder)) for s in sources.SPLITS]
    assert tuple(found) == counts
