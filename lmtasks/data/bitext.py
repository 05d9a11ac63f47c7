"""Parallel text, and its languages: the codes that end files' names, as in train.en."""

from __future__ import annotations

from collections.abc import Iterator

from lmtasks.data import readers

# code -> (English name, code of mBART-50, Tang et al., 2020, arXiv:2008.00401).
LANGUAGES = {
    "ar": ("Arabic", "ar_AR"),
    "bn": ("Bengali", "bn_IN"),
    "cs": ("Czech", "cs_CZ"),
    "de": ("German", "de_DE"),
    "en": ("English", "en_XX"),
    "es": ("Spanish", "es_XX"),
    "et": ("Estonian", "et_EE"),
    "fa": ("Persian", "fa_IR"),
    "fi": ("Finnish", "fi_FI"),
    "fr": ("French", "fr_XX"),
    "he": ("Hebrew", "he_IL"),
    "hi": ("Hindi", "hi_IN"),
    "hr": ("Croatian", "hr_HR"),
    "id": ("Indonesian", "id_ID"),
    "it": ("Italian", "it_IT"),
    "ja": ("Japanese", "ja_XX"),
    "ka": ("Georgian", "ka_GE"),
    "kk": ("Kazakh", "kk_KZ"),
    "ko": ("Korean", "ko_KR"),
    "lt": ("Lithuanian", "lt_LT"),
    "lv": ("Latvian", "lv_LV"),
    "nl": ("Dutch", "nl_XX"),
    "pl": ("Polish", "pl_PL"),
    "pt": ("Portuguese", "pt_XX"),
    "ro": ("Romanian", "ro_RO"),
    "ru": ("Russian", "ru_RU"),
    "sv": ("Swedish", "sv_SE"),
    "th": ("Thai", "th_TH"),
    "tr": ("Turkish", "tr_TR"),
    "uk": ("Ukrainian", "uk_UA"),
    "ur": ("Urdu", "ur_PK"),
    "vi": ("Vietnamese", "vi_VN"),
    "zh": ("Chinese", "zh_CN"),
}


def named(language: str) -> tuple[str, str]:
    """Return (name, mBART's code) of a code or a name; itself twice where unknown.

    >>> named("fr"), named("French"), named("Klingon")
    (('French', 'fr_XX'), ('French', 'fr_XX'), ('Klingon', 'Klingon'))
    """
    by_name = {pair[0]: pair for pair in LANGUAGES.values()}
    pair = LANGUAGES.get(language) or by_name.get(language)
    return pair or (language, language)


def code_of(path: str) -> str:
    """Return the code that a file's name ends in, "" for none.

    >>> code_of("data/train.de.gz"), code_of("train.txt")
    ('de', '')
    """
    ending = path.removesuffix(".gz").rpartition(".")[2]
    return ending if ending in LANGUAGES else ""


def parallel(source: str, target: str) -> Iterator[readers.Row]:
    """Yield {"source", "target"} of two files that correspond line by line.

    With "source_language" and "target_language" where both names end in a code.
    """
    codes = code_of(source), code_of(target)
    names = ("source_language", "target_language")
    known = dict(zip(names, codes, strict=True)) if all(codes) else {}
    left, right = list(readers.lines(source)), list(readers.lines(target))
    if len(left) != len(right):
        raise ValueError(
            f"{source} has {len(left)} lines and {target} has {len(right)}; "
            "parallel files correspond line by line."
        )
    for (number, one), (_, other) in zip(left, right, strict=True):
        wrong = [side for side in (one, other) if isinstance(side, readers.Bad)]
        if wrong:
            yield number, wrong[0]
        elif bool(one.strip()) != bool(other.strip()):
            yield (
                number,
                readers.Bad(f"{source if other.strip() else target} is empty here"),
            )
        elif one.strip():
            yield number, {"source": one, "target": other, **known}
