"""Predictions as a person sees them: every form, in plain text, in colour, as a page."""

import io
import re
from html import parser

import pytest

from lmtasks.data import examples
from lmtasks.rendering import html
from lmtasks.rendering import text
from lmtasks.rendering import views

CHOICE = examples.Choice("It rains", ("take an umbrella", "swim"))
PEOPLE = examples.Tagged(("Tim", "Cook", "runs", "Apple", "."))
FOUND = [
    {"type": "PER", "text": "Tim Cook", "start": 0, "end": 8, "score": 0.98},
    {"type": "ORG", "text": "Apple", "start": 14, "end": 19, "score": 0.7},
]
NAMES = {"tags": ["B-PER", "I-PER", "O", "B-ORG", "O"], "entities": FOUND}
PAINTED = examples.Span("Who painted it?", "In May Mira painted the door.")
BEST = [{"text": "Mira", "score": 0.5}, {"text": "", "score": 0.25}]
MIRA = {"text": "Mira", "start": 7, "end": 11, "score": 0.5, "n_best": BEST}
MASKED = examples.Text("The cat is on the [MASK].")
FILLS = {
    "text": "The cat is on the mat.",
    "fills": [
        [
            {"token": "mat", "score": 0.625, "text": "The cat is on the mat."},
            {"token": "sofa", "score": 0.25, "text": "The cat is on the sofa."},
        ]
    ],
}
HELLO = examples.Turns((examples.Turn("user", "Good morning"),))
SEVERAL = {"text": "b", "texts": ["a", "b"], "scores": [-2.0, -1.0], "chosen": 1}

# What is asked, the prediction, and the lines it is shown in.
FORMS = {
    "label": (
        examples.Labelled("a fine film"),
        {"label": "good", "score": 0.75, "scores": {"bad": 0.25, "good": 0.75}},
        ("text  a fine film", "label  > 0.750 ###############      good",
         "0.250 #####                bad"),
    ),
    "several labels": (
        examples.Labelled("a"),
        {"label": ["a", "c"], "scores": {"a": 0.9, "b": 0.1, "c": 0.8}},
        ("> 0.900 ##################   a", "> 0.800 ################     c"),
    ),
    "number": (
        examples.Labelled("one", None, "other"),
        {"label": 3.25},
        ("text  one", "pair  other", "label  3.250"),
    ),
    "no label": (
        examples.Labelled("a"),
        {"label": None, "text": "what?"},
        ("label  none in the text 'what?'",),
    ),
    "entities": (
        PEOPLE,
        NAMES,
        ("text  [Tim Cook](PER) runs [Apple](ORG) .", "PER   Tim Cook  0.980  0-8"),
    ),
    "no entities": (
        examples.Tagged(("so", "tired")),
        {"tags": ["O", "O"], "entities": []},
        ("text  so tired", "entities  none"),
    ),
    "parts of speech": (
        examples.Tagged(("Cats", "sleep", "!")),
        {"tags": ["NOUN", "VERB", "PUNCT"]},
        ("Cats  sleep  !", "NOUN  VERB   PUNCT"),
    ),
    "unreadable tags": (
        PEOPLE,
        {"tags": None, "entities": [], "missed": 2, "text": "what?"},
        ("text  Tim Cook runs Apple .", "tags  none in the text 'what?'", "missed  2"),
    ),
    "replaced": (
        examples.Text("a red sea"),
        {"tokens": [
            {"token": "a", "start": 0, "end": 1, "score": 0.125},
            {"token": "red", "start": 2, "end": 5, "score": 0.75},
            {"token": "sea", "start": 6, "end": 9, "score": 0.25},
        ]},
        ("text  a [red](replaced) sea", "replaced  > 0.750 ###############      red"),
    ),
    "answer": (
        PAINTED,
        MIRA,
        ("question  Who painted it?", "context  In May [Mira] painted the door.",
         "answer  Mira", "score  0.500", "0.250  (no answer)"),
    ),
    "no answer": (
        PAINTED,
        {"text": "", "start": 0, "end": 0, "score": 0.5, "n_best": []},
        ("context  In May Mira painted the door.", "answer  (no answer)"),
    ),
    "written answer": (PAINTED, {"text": "the door"}, ("painted [the door].",)),
    "choice": (
        CHOICE,
        {"choice": 0, "choice_norm": 1, "scores": [-3.0, -9.0], "text": "swim"},
        ("context  It rains", "options  > -3.000 #################### take an umbr",
         "-9.000                      swim", "by length  swim"),
    ),
    "fills": (
        MASKED,
        FILLS,
        ("text  The cat is on the [MASK].", "mask  > 0.625 ############         mat",
         "filled  The cat is on the mat."),
    ),
    "text": (HELLO, {"text": "hello"}, ("user  Good morning", "answer  hello")),
    "several texts": (HELLO, SEVERAL, ("or  a", "answer  b")),
    "similarity": (
        examples.Pair("a cat", "the cat"),
        {"vector": [1.0, 0.0], "other": [0.6, 0.8], "similarity": 0.625},
        ("first  a cat", "second  the cat", "vector  2 numbers, norm 1.000: 1.000, 0.0",
         "other  2 numbers, norm 1.000: 0.600, 0.8", "similarity  0.625"),
    ),
    "vector": (examples.Text("a"), {"vector": [3.0, 4.0]}, ("2 numbers, norm 5.000",)),
    "error": (None, {"error": "no text"}, ("error  no text",)),
    "error of a text": (HELLO, {"error": "too long"}, ("user  Good", "error  too long")),
}  # fmt: skip
each_form = pytest.mark.parametrize("form", FORMS)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def plain(*seen):
    """Return views as text without a terminal."""
    stream = io.StringIO()
    text.show(seen, stream)
    return stream.getvalue()


def coloured(monkeypatch, *seen):
    """Return views as on a terminal with colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    text.show(seen, stream)
    return stream.getvalue()


class Page(parser.HTMLParser):
    """Collects the text and the marks of a page; an unclosed tag is an error."""

    def __init__(self, page):
        super().__init__()
        self.open, self.said, self.marks = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag != "meta":
            self.open.append((tag, dict(attrs).get("class")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.said.append(data)
        if self.open and self.open[-1][0] == "mark":
            self.marks.append(data)

    @property
    def text(self):
        return " ".join(self.said)


@each_form
def test_every_form_is_shown_in_plain_text(form):
    example, answer, lines = FORMS[form]
    said = plain(views.of(example, answer))
    for line in lines:
        assert line in said, said
    assert "\x1b" not in said


@each_form
def test_every_form_is_shown_in_colour_with_the_same_words(form, monkeypatch):
    example, answer, _ = FORMS[form]
    said = coloured(monkeypatch, views.of(example, answer))
    assert "\x1b[" in said
    bare = re.sub(r"\x1b\[[\d;]*m", "", said)
    words = re.findall(r"[A-Za-z]{2,}", plain(views.of(example, answer)))
    assert words and all(word in bare for word in words)


@each_form
def test_every_form_is_shown_on_a_sound_page(form):
    example, answer, _ = FORMS[form]
    page = Page(html.page([views.of(example, answer)], "a title"))
    words = re.findall(r"[A-Za-z]{2,}", plain(views.of(example, answer)))
    assert all(word in page.text for word in words)
    assert "a title" in page.said


def test_entities_and_answers_are_marked_on_the_page():
    page = Page(html.page([views.of(PEOPLE, NAMES), views.of(PAINTED, MIRA)], "t"))
    assert page.marks == ["Tim Cook", "Apple", "Mira"]
    page = html.page([views.of(PEOPLE, NAMES)], "t")
    (person,), (company,) = (
        re.findall(rf'<mark class="(\w+)">{name}', page) for name in ("Tim", "Apple")
    )
    assert person != company
    assert f"mark.{person} {{" in page and f"mark.{company} {{" in page


def test_entities_and_answers_are_marked_in_colour(monkeypatch):
    said = coloured(monkeypatch, views.of(PEOPLE, NAMES), views.of(PAINTED, MIRA))
    styles = {
        name: re.search(rf"\x1b\[([\d;]+)m ?{name}", said).group(1)
        for name in ("Tim Cook", "Apple", "Mira")
    }
    assert len(set(styles.values())) == 3


def test_no_color_and_a_dumb_stream_write_no_codes(monkeypatch):
    seen = [views.of(PEOPLE, NAMES)]
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    text.show(seen, stream)
    assert stream.getvalue() == plain(*seen)
    assert "\x1b" not in stream.getvalue()


def test_long_texts_are_one_line_where_there_is_no_terminal():
    long = "word " * 200
    said = plain(views.of(examples.Labelled(long), {"label": 1.0}))
    assert any(line.endswith(long) for line in said.splitlines())


def test_only_the_best_classes_are_listed_and_the_rest_is_summed():
    scores = {f"c{i}": 0.6 if i == 40 else 0.4 / 76 for i in range(77)}
    said = plain(views.of(examples.Labelled("a"), {"label": "c40", "scores": scores}))
    assert "> 0.600" in said and "72 more, 0.379 together" in said
    assert said.count("0.005") == 4


def test_an_answer_deep_in_a_long_context_is_shown_with_what_is_around_it():
    context = "x " * 5000 + "Mira painted" + " y" * 5000
    start = context.index("Mira")
    answer = {"text": "Mira", "start": start, "end": start + 4, "score": 1.0}
    said = plain(views.of(examples.Span("Who?", context), answer))
    assert "[...]" in said and "x [Mira] painted y" in said
    assert len(said) < 2000


def test_an_answer_that_is_not_at_its_place_is_not_marked_elsewhere():
    said = plain(views.of(PAINTED, {**MIRA, "start": 0, "end": 4}))
    assert "context  In May Mira painted the door." in said and "answer  Mira" in said


def test_offsets_refer_to_the_text_that_was_given():
    spans = ((0, 3), (5, 9), (10, 14))
    example = examples.Tagged(("Tim", "Cook", "runs"), (), "Tim  Cook runs", spans)
    found = {"type": "PER", "text": "Tim  Cook", "start": 0, "end": 9, "score": 1.0}
    answer = {"tags": ["B-PER", "I-PER", "O"], "entities": [found]}
    assert "text  [Tim  Cook](PER) runs" in plain(views.of(example, answer))


def test_entities_that_overlap_or_have_no_place_do_not_break_the_text():
    lost = {"type": "ORG", "text": "Apple", "start": None, "end": None}
    inner = {"type": "LOC", "text": "Cook", "start": 4, "end": 8}
    answer = {"tags": NAMES["tags"], "entities": [lost, inner, FOUND[0]]}
    said = plain(views.of(PEOPLE, answer))
    assert "text  [Tim Cook](PER) runs Apple ." in said
    assert "ORG   Apple            not found" in said


def test_words_and_tags_wrap_together_and_stay_aligned():
    words = tuple(f"word{i}" for i in range(40))
    tags = ["NOUN" if i % 2 else "PROPN" for i in range(40)]
    said = plain(views.of(examples.Tagged(words), {"tags": tags})).splitlines()[1:]
    assert len(said) > 2 and len(said) % 2 == 0
    for above, below in zip(said[::2], said[1::2], strict=True):
        starts = [match.start() for match in re.finditer(r"\S+", above)]
        assert starts == [match.start() for match in re.finditer(r"\S+", below)]
    assert " ".join(" ".join(said[::2]).split()) == " ".join(words)


def test_wide_characters_keep_words_and_tags_aligned():
    example = examples.Tagged(("\u732b", "sleeps"))
    said = plain(views.of(example, {"tags": ["X", "VERB"]})).splitlines()
    # The ideograph is two cells wide and one character long.
    assert said[1:] == ["\u732b  sleeps", "X   VERB"]


def test_what_would_steer_a_terminal_or_is_no_text_is_written_out(tmp_path):
    example = examples.Labelled("red \x1b[31m bell \x07 half \ud800 <b>&")
    seen = views.of(example, {"label": "<i>", "scores": {"<i>": 1.0}})
    said = plain(seen)
    assert "red \\x1b[31m bell \\x07 half \\ud800 <b>&" in said
    page = html.page([seen], "<title>")
    assert "<b>" not in page and "<i>" not in page and "&lt;b&gt;&amp;" in page
    (tmp_path / "page.html").write_text(page, encoding="utf-8")


def test_numbers_that_are_none_draw_no_bar():
    nan = float("nan")
    scores = {"a": nan, "b": nan}
    said = plain(views.of(examples.Labelled("x"), {"label": "a", "scores": scores}))
    assert "nan" in said and "#" not in said
    answer = {"choice": 0, "scores": [float("-inf")] * 2}
    assert "-inf" in plain(views.of(CHOICE, answer))


def test_views_are_numbered_in_order():
    seen = [views.of(*FORMS[form][:2]) for form in FORMS]
    said = plain(*seen)
    numbers = [int(n) for n in re.findall(r"^--- (\d+)$", said, re.MULTILINE)]
    assert numbers == list(range(1, len(FORMS) + 1))
    page = html.page(seen, "t")
    assert [int(n) for n in re.findall(r'class="n">(\d+)<', page)] == numbers


def test_what_a_prediction_holds_beyond_its_form_is_shown_shortened():
    answer = {"label": 1.0, "mass": 0.5, "note": "n" * 500, "list": [1, 2]}
    said = plain(views.of(examples.Labelled("x"), answer))
    assert "mass  0.500" in said and "list  [1, 2]" in said
    assert "n" * 200 + " [...]" in said and "n" * 201 not in said
