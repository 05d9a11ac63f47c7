"""File formats: what each reader yields, and what it says of bad input."""

import gzip
import json
import pathlib

import pytest

from lmtasks.data import bitext
from lmtasks.data import json_readers
from lmtasks.data import readers

SHARED = pathlib.Path(__file__).parents[1].parent / "shared" / "data"


@pytest.fixture(name="file")
def _file(tmp_path):
    def write(content, name="data.txt"):
        path = tmp_path / name
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return str(path)

    return write


def wrong(rows):
    """Return {line: what is wrong} of the bad rows."""
    return {n: row.what for n, row in rows if isinstance(row, readers.Bad)}


def good(rows):
    return [row for _, row in rows if not isinstance(row, readers.Bad)]


def test_text_lines_keep_their_numbers_and_skip_blank_ones(file):
    path = file("one\n\n  two \r\n \t\nthree")
    assert list(readers.text_lines(path)) == [
        (1, {"text": "one"}),
        (3, {"text": "  two "}),
        (5, {"text": "three"}),
    ]


def test_only_newlines_end_a_line(file):
    path = file("a\u2028b\u0085c\x0bd\ne")
    assert good(readers.text_lines(path)) == [
        {"text": "a\u2028b\u0085c\x0bd"},
        {"text": "e"},
    ]


def test_a_byte_order_mark_is_dropped(file):
    assert good(readers.text_lines(file(b"\xef\xbb\xbfone\n"))) == [{"text": "one"}]
    table = file(b"\xef\xbb\xbftext,label\na,1\n")
    assert good(readers.csv_table(table)) == [{"text": "a", "label": "1"}]


def test_bad_utf8_and_nul_bytes_spoil_their_line_only(file):
    path = file(b"one\ntw\xff\nthr\0ee\nfour\n")
    rows = list(readers.text_lines(path))
    assert good(rows) == [{"text": "one"}, {"text": "four"}]
    assert wrong(rows) == {
        2: "byte 0xff in column 3 is no UTF-8",
        3: "NUL byte in column 4",
    }


def test_utf16_is_refused_with_the_way_out(file):
    with pytest.raises(ValueError, match="UTF-16; convert it to UTF-8: iconv"):
        list(readers.text_lines(file("one\n".encode("utf-16"))))


@pytest.mark.parametrize("content", ["a\nb\n", "a\nb"])
def test_gzipped_files_read_like_plain_ones(file, content):
    plain = list(readers.text_lines(file(content)))
    assert list(readers.text_lines(file(content, "data.txt.gz"))) == plain


def test_a_cut_off_gzip_file_is_bad_at_its_end(file, tmp_path):
    lines = "".join(f"line {i * 7919 % 100_003}\n" for i in range(20_000))
    whole = gzip.compress(lines.encode())
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(whole[: len(whole) // 2])
    rows = list(readers.text_lines(str(path)))
    assert len(good(rows)) > 5_000
    assert list(wrong(rows).values()) == [
        "the gzip file is cut off; what follows is lost"
    ]
    assert isinstance(rows[-1][1], readers.Bad)


def test_a_damaged_gzip_file_is_refused_whole(tmp_path):
    path = tmp_path / "bad.txt.gz"
    path.write_bytes(b"this is no gzip")
    with pytest.raises(ValueError, match="not a sound gzip file"):
        list(readers.text_lines(str(path)))
    data = bytearray(gzip.compress(b"one\n" * 1000))
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a sound gzip file"):
        list(readers.text_lines(str(path)))


def test_paragraphs_are_blocks_between_blank_lines(file):
    path = file("\na\nb\n \t\n\nc\n")
    assert list(readers.paragraphs(path)) == [
        (2, {"text": "a\nb"}),
        (6, {"text": "c"}),
    ]


def test_a_document_is_the_file_byte_for_byte(file):
    text = "\na\r\n\n b \n"
    assert list(readers.document(file(text))) == [(1, {"text": text})]
    assert list(readers.document(file("\n \n"))) == []
    assert wrong(readers.document(file(b"a\nb\xc3\n"))) == {
        2: "byte 0xc3 in column 2 is no UTF-8"
    }


def test_json_lines_are_objects_and_say_what_is_wrong(file):
    path = file('{"a": 1}\n\n{"a": }\n3\n{"a": "\\ud800"}\n{"a": "\\ud83d\\ude00"}\n')
    rows = list(json_readers.jsonl(path))
    assert [n for n, _ in rows] == [1, 3, 4, 5, 6]
    assert good(rows) == [{"a": 1}, {"a": "\U0001f600"}]
    said = wrong(rows)
    assert "Expecting value in column 7" in said[3]
    assert said[4] == "a JSON object is expected, not int"
    assert "lone surrogate" in said[5]


def test_deep_nesting_and_huge_numbers_are_bad_records_not_crashes(file):
    path = file("[" * 200_000 + "\n" + "9" * 5000 + '\n{"a": 1}\n')
    rows = list(json_readers.jsonl(path))
    assert set(wrong(rows)) == {1, 2} and good(rows) == [{"a": 1}]


def test_a_ten_megabyte_line_is_a_record(file):
    long = "x" * 10_000_000
    assert good(json_readers.jsonl(file(json.dumps({"a": long})))) == [{"a": long}]
    assert good(readers.csv_table(file(f"a\n{long}\n"))) == [{"a": long}]


def test_a_json_list_is_numbered_by_lines(file):
    path = file('[\n {"a": 1},\n {"a":\n 2}, {"a": 3}\n]\n')
    assert list(json_readers.json_list(path)) == [
        (2, {"a": 1}),
        (3, {"a": 2}),
        (4, {"a": 3}),
    ]
    assert list(json_readers.json_list(file("[]"))) == []
    assert list(json_readers.json_list(file(" \n"))) == []


def test_a_broken_json_list_gives_what_comes_before(file):
    rows = list(json_readers.json_list(file('[{"a": 1},\n {"a": oops},\n {"a": 3}]')))
    assert good(rows) == [{"a": 1}]
    assert "rest of the list is lost" in wrong(rows)[2]
    rows = list(json_readers.json_list(file('[{"a": 1}\n {"a": 2}]')))
    assert "no , or ]" in wrong(rows)[2]
    rows = list(json_readers.json_list(file('[{"a": 1}')))
    assert good(rows) == [{"a": 1}] and len(wrong(rows)) == 1


def test_bad_bytes_spoil_one_item_of_a_json_list(file):
    rows = list(json_readers.json_list(file(b'[{"a": "x\xff"},\n{"a": "y"}]')))
    assert good(rows) == [{"a": "y"}] and set(wrong(rows)) == {1}


def test_json_lines_called_json_are_read_as_lines(file):
    path = file('{"a": 1}\n{"a": 2}\n')
    assert good(json_readers.json_list(path)) == [{"a": 1}, {"a": 2}]


def squad(qas, context="The cat sat."):
    return json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]})


def test_squad_files_give_answers_with_their_places(file):
    path = file(
        squad(
            [
                {
                    "id": "1",
                    "question": "Who?",
                    "answers": [
                        {"text": "The cat", "answer_start": 0},
                        {"text": "cat", "answer_start": 4},
                    ],
                },
                {
                    "id": "2",
                    "question": "Where?",
                    "is_impossible": True,
                    "plausible_answers": [{"text": "sat", "answer_start": 8}],
                    "answers": [],
                },
            ]
        )
    )
    assert list(json_readers.squad(path)) == [
        (
            1,
            {
                "id": "1",
                "question": "Who?",
                "context": "The cat sat.",
                "answers": [("The cat", 0), ("cat", 4)],
            },
        ),
        (
            2,
            {
                "id": "2",
                "question": "Where?",
                "context": "The cat sat.",
                "answers": [],
            },
        ),
    ]
    assert list(json_readers.json_list(path)) == list(json_readers.squad(path))


def test_a_squad_answer_at_the_wrong_place_is_bad(file):
    path = file(
        squad(
            [
                {"question": "Who?", "answers": [{"text": "cat", "answer_start": 3}]},
                {"answers": []},
            ]
        )
    )
    said = wrong(json_readers.squad(path))
    assert said[1] == "the answer 'cat' is not at 3, ' ca' is"
    assert "KeyError: 'question'" in said[2]


def test_an_object_that_is_no_squad_file_is_refused(file):
    with pytest.raises(ValueError, match="neither a JSON list nor SQuAD"):
        list(json_readers.json_list(file('{"rows": []}')))


def test_csv_quotes_hold_commas_and_line_ends(file):
    path = file('text,label\n"a, ""b""\nc",1\r\n\nd,2\n')
    assert list(readers.csv_table(path)) == [
        (2, {"text": 'a, "b"\nc', "label": "1"}),
        (5, {"text": "d", "label": "2"}),
    ]


def test_tables_without_a_header_number_their_columns(file):
    assert good(readers.csv_table(file("a,1\nb,2\n"), header=False)) == [
        {0: "a", 1: "1"},
        {0: "b", 1: "2"},
    ]
    assert good(readers.tsv_table(file('"a\t1\nb"\t2\n'), header=False)) == [
        {0: '"a', 1: "1"},
        {0: 'b"', 1: "2"},
    ]


def test_rows_of_another_width_are_bad(file):
    for reader, mark in ((readers.csv_table, ","), (readers.tsv_table, "\t")):
        path = file(f"x{mark}y\n1{mark}2\n3\n4{mark}5{mark}6\n7{mark}8\n")
        rows = list(reader(path))
        assert [row["x"] for row in good(rows)] == ["1", "7"]
        assert wrong(rows) == {
            3: "1 columns where the first line has 2",
            4: "3 columns where the first line has 2",
        }


def test_bad_bytes_and_stray_quotes_spoil_one_csv_row(file):
    path = file(b'x,y\na,b\xff\n"c"d,e\nf\0,g\nh,i\n')
    rows = list(readers.csv_table(path))
    assert good(rows) == [{"x": "h", "y": "i"}]
    assert set(wrong(rows)) == {2, 3, 4}


def test_a_quote_that_never_closes_is_refused_with_its_line(file):
    path = file('x,y\na,b\n"c,d\ne,f\n')
    with pytest.raises(ValueError, match=r"data\.txt:3: a quote .* never closed"):
        list(readers.csv_table(path))


def test_two_columns_of_one_name_are_refused(file):
    with pytest.raises(ValueError, match="two columns have one name: a, b, a"):
        list(readers.csv_table(file("a,b,a\n1,2,3\n")))


def test_conll_sentences_end_at_white_space_of_any_kind(file):
    path = file("-DOCSTART- O\n\nEU B-ORG\nrejects O\n\t\nPeter B-PER\n \n\n")
    assert list(readers.conll(path)) == [
        (3, {"words": ["EU", "rejects"], "tags": ["B-ORG", "O"]}),
        (6, {"words": ["Peter"], "tags": ["B-PER"]}),
    ]


def test_conll_cuts_at_tabs_where_there_are_any(file):
    path = file("New York\tB-LOC\n")
    assert good(readers.conll(path)) == [{"words": ["New York"], "tags": ["B-LOC"]}]


def test_conll_columns_are_chosen_by_number(file):
    path = file("EU NNP B-NP B-ORG\nrejects VBZ B-VP O extra\n")
    assert good(readers.conll(path, columns=(0, 3, 1))) == [
        {0: ["EU", "rejects"], 3: ["B-ORG", "O"], 1: ["NNP", "VBZ"]}
    ]
    said = wrong(readers.conll(path))
    assert said == {2: "5 columns where the sentence begins with 4"}


def test_a_bad_conll_token_is_named_by_its_own_line(file):
    path = file("a\tO\nb\n\nc\tO\n\tO\n\nd\tO\n")
    rows = list(readers.conll(path))
    assert good(rows) == [{"words": ["d"], "tags": ["O"]}]
    assert set(wrong(rows)) == {2, 5}
    assert set(wrong(readers.conll(file("a\nb\n")))) == {1}
    assert set(wrong(readers.conll(file("a O\n"), columns=(0, 2)))) == {1}


def test_conllu_leaves_out_ranges_and_empty_nodes(file):
    def row(i, form, upos):
        return f"{i}\t{form}\t{form}-l\t{upos}\tX\t_\t0\troot\t_\t_\n"

    path = file(
        "# text = # vamonos\n"
        + row("1-2", "vamonos", "_")
        + row(1, "vamos", "VERB")
        + row("1.1", "ghost", "NOUN")
        + row(2, "#", "PRON")
        + "\n# only a comment\n\n"
        + "1\ttoo\tfew\n"
    )
    rows = list(readers.conllu(path))
    assert good(rows) == [
        {
            "words": ["vamos", "#"],
            "tags": ["VERB", "PRON"],
            "lemmas": ["vamos-l", "#-l"],
            "xpos": ["X", "X"],
        }
    ]
    assert wrong(rows) == {9: "3 columns, not 10"}


NAMED = {"source_language": "en", "target_language": "de"}


def test_languages_are_what_both_names_end_in(file):
    sides = [file("a\n", name) for name in ("x.fr", "y.en", "z.txt")]
    assert good(bitext.parallel(*sides[:2])) == [
        {"source": "a", "target": "a", "source_language": "fr", "target_language": "en"}
    ]
    assert good(bitext.parallel(*sides[1:])) == [{"source": "a", "target": "a"}]


def test_parallel_files_go_line_by_line(file):
    source, target = file("a\n\nb\nc\n", "x.en"), file("A\n\nB\n \n", "x.de.gz")
    rows = list(bitext.parallel(source, target))
    assert good(rows) == [
        {"source": "a", "target": "A", **NAMED},
        {"source": "b", "target": "B", **NAMED},
    ]
    assert list(wrong(rows)) == [4] and wrong(rows)[4].endswith("x.de.gz is empty here")


def test_parallel_files_of_unequal_length_name_both_counts(file):
    source, target = file("a\nb\n", "x.en"), file("A\n", "x.de")
    with pytest.raises(ValueError, match=r"x\.en has 2 lines and .*x\.de has 1"):
        list(bitext.parallel(source, target))


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize(
    "name, count",
    [
        ("ner/wnut17/train.conll", 3394),
        ("ner/btc/train_g.conll", 2138),
        ("ner/wnut17/test.conll", 505),
    ],
)
def test_real_conll_files_have_as_many_sentences_as_published(name, count):
    rows = list(readers.conll(str(SHARED / name)))
    assert len(good(rows)) == len(rows) == count


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
def test_real_files_of_other_formats_have_as_many_rows_as_published():
    qa = SHARED / "extractive_qa/xquad_en/train.json"
    assert len(good(json_readers.squad(str(qa)))) == 829
    ud = SHARED / "pos/ud_english_ewt/validation.conllu"
    assert len(good(readers.conllu(str(ud)))) == 1058
    sides = [str(SHARED / f"translation/multi30k/train.{s}.gz") for s in ("en", "de")]
    assert len(good(bitext.parallel(*sides))) == 29_000
    bank = SHARED / "text_classification/banking77/test.csv"
    assert len(good(readers.csv_table(str(bank)))) == 1540
