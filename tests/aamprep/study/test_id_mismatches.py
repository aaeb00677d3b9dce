"""Explanations for ids that do not match: a change of all ids is told as the cause."""

import calendar
import html
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from hashlib import md5, sha256
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aamprep.read.invisible import HIDDEN
from aamprep.study.id_mismatches import mismatch_hint

Draw = Callable[[st.SearchStrategy[str]], str]
Change = Callable[[Draw, str], str]

WORDS = st.from_regex(r"[b-km-n]{2,5}[1-9]{1,3}", fullmatch=True)
LOOKS_LIKE = {"-": "–—−‐‑", "'": "’", "a": "а", "B": "ВΒ", "o": "оο", "3": "３", "K": "КΚ"}
NO_BLANK = [letter for letter in HIDDEN if unicodedata.category(letter) != "Zs"]
ODD_BLANK = [letter for letter in HIDDEN if unicodedata.category(letter) == "Zs"]
R_WORDS = st.from_regex(r"([0-9]{1,3}|[b-k]{1,3})[-() +#][b-k]{1,3}|[0-9_]{1,2}[b-k.]{1,3}", fullmatch=True)


def one_of(draw: Draw, items: str | list[str]) -> str:
    return draw(st.sampled_from(items))


def r_make_names(name: str) -> str:
    """Return what R makes of a name, letter by letter as in `do_makenames` of its source."""
    letters = list(name)
    if not (letters[0].isalpha() or (letters[0] == "." and not "".join(letters[1:2]).isdigit())):
        letters.insert(0, "X")
    return "".join(letter if letter.isalnum() or letter in "._" else "." for letter in letters)


def hidden(draw: Draw, name: str) -> str:
    if " " in name:
        return name.replace(" ", one_of(draw, ODD_BLANK))
    place = draw(st.sampled_from(range(len(name) + 1)))  # type: ignore[arg-type, call-overload]
    return name[:place] + one_of(draw, NO_BLANK + ODD_BLANK) + name[place:]


def looks_like(draw: Draw, name: str) -> str:
    return "".join(one_of(draw, LOOKS_LIKE.get(letter, letter)) for letter in name)


def blanks(draw: Draw, name: str) -> str:
    place = draw(st.sampled_from(range(len(name) + 1)))  # type: ignore[arg-type, call-overload]
    return name[:place] + " " + name[place:]


def as_date(draw: Draw, name: str) -> str:
    """Return what a spreadsheet makes of 1-2 or MAR1."""
    month, day = ("3", name[3:]) if name.startswith("MAR") else name.split("-")
    word = calendar.month_abbr[int(month)]
    iso = f"2024-{int(month):02}-{int(day):02}"
    return one_of(draw, [f"{day}-{word}", f"{int(day):02}-{word}", f"{word}-{day}", iso, f"{iso} 00:00:00"])


CHANGES: dict[str, tuple[st.SearchStrategy[str], Change]] = {
    "accents": (
        WORDS.flatmap(lambda word: st.sampled_from("éñüåç각ộ").map(lambda letter: word + letter)),
        lambda _, name: unicodedata.normalize("NFD", name),
    ),
    "invisible": (WORDS | WORDS.map(lambda word: f"gut {word}"), hidden),
    "quotes around": (
        WORDS,
        lambda draw, name: one_of(draw, ['"{}"', "'{}'", "“{}”", "«{}»", "`{}`", "'{}"]).format(name),
    ),
    "look alike": (
        WORDS.flatmap(lambda word: st.sampled_from([*LOOKS_LIKE]).map(lambda letter: word + letter)),
        looks_like,
    ),
    "make.names": (R_WORDS, lambda _, name: r_make_names(name)),
    "annotations": (
        WORDS,
        lambda draw, name: name + one_of(draw, [";size=7", ";size=12;", ";sample=b;size=3;", ";ee=0.3"]),
    ),
    "blanks were": (WORDS, blanks),
    "another encoding": (
        WORDS.flatmap(lambda word: st.sampled_from("éñüåø°µ").map(lambda letter: word + letter)),
        lambda _, name: name.encode().decode("latin-1"),
    ),
    "escapes": (
        WORDS.map(lambda word: f"{word} & b"),
        lambda draw, name: one_of(draw, [quote(name), html.escape(name)]),
    ),
    "accents were ignored": (
        WORDS.flatmap(lambda word: st.sampled_from("éñüåç").map(lambda letter: word + letter)),
        lambda _, name: name[:-1] + unicodedata.normalize("NFD", name)[-2],
    ),
    "leading zeros": (
        st.integers(1, 99).map("s{}".format) | st.integers(1, 99).map("gut-{}b".format),
        lambda _, name: re.sub(r"(\d+)", lambda found: found[1].zfill(4), name),
    ),
    "dates": (
        st.dates(date(2024, 1, 13), date(2024, 12, 31)).map(lambda day: f"{day.month}-{day.day}")
        | st.integers(1, 31).map("MAR{}".format),
        lambda draw, name: as_date(draw, name),
    ),
    "the letters": (st.integers(1, 999).map(str), lambda draw, name: one_of(draw, ["S", "Sample"]) + name),
    "lost their zeros": (
        st.integers(1, 999).map(str) | st.integers(1, 999).map("1.{}1".format),
        lambda draw, name: name + one_of(draw, ["0", "00"]) if "." in name else f"00{name}",
    ),
    "text from": (WORDS, lambda draw, name: name + one_of(draw, ["|", " ", "; ", "|k__"]) + draw(WORDS)),
    "case": (WORDS, lambda _, name: name.upper()),
    "dots, dashes": (
        WORDS.map(lambda word: f"{word}_b"),
        lambda draw, name: name.replace("_", one_of(draw, ["", "-", "."])),
    ),
    "prefix": (WORDS, lambda draw, name: one_of(draw, ["10317.", "run-2_", "ITS1/", "gi|"]) + name),
    "suffix": (WORDS, lambda draw, name: name + one_of(draw, ["_S1_L001", ".fastq.gz", "-rep1", "/1"])),
    "hashes": (
        WORDS.map(lambda word: f"ITS1/{md5(word.encode()).hexdigest()}_198")
        | WORDS.map(lambda word: f"ITS1/{sha256(word.encode()).hexdigest()}_7"),
        lambda _, name: f"ASV-{name.split('/')[1].split('_')[0].upper()}",
    ),
    "letters and digits": (
        WORDS.map(lambda word: f"{word}_b"),
        lambda draw, name: name.upper().replace("_", one_of(draw, ["-", ".", ""])),
    ),
}
"""Words of each explanation, ids that the change alters, and the change."""


@pytest.mark.parametrize("words", CHANGES)
@given(data=st.data())
def test_a_change_of_all_ids_is_named_as_the_cause(words: str, data: st.DataObject) -> None:
    ids, change = CHANGES[words]
    here = data.draw(st.lists(ids, min_size=1, max_size=6, unique_by=str.casefold))
    there = [change(data.draw, name) for name in here]
    # Other ids are in both files, or in one of them.
    here_too, there_too = data.draw(st.sampled_from([([], []), (["pp", "qq"], ["pp", "rr"]), (["tt"], [])]))
    pair = ([*here, *here_too], [*there_too, *there])
    if data.draw(st.booleans()):
        pair = pair[::-1]
    hint = mismatch_hint(*pair)
    assert " would match if " in hint
    assert words in hint.split(":")[0], (hint, pair)
    if words in ("accents", "invisible", "look alike"):
        assert hint.isascii()


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        (["s1", "s2", "x"], ["S1", "S2"], ["2 would match", "case", "'s1' is 'S1' there"]),
        (["gut A", "gut B"], ["gutA", "gutB "], ["2 would match", "blanks"]),
        (["2538.1001130"], ["2538.100113"], ["zeros", "'2538.1001130' is '2538.100113' there"]),
        (["03497", "15e38"], ["3497", "1.5e39"], ["2 would match", "zeros"]),
        (["a-1", "a_2"], ["a.1", "a 2"], ["2 would match", "dots"]),
        (["10333.A", "10333.B"], ["A", "B"], ["2 would match", "prefix", "the table's ids"]),
        (["A", "B"], ["crc-udca2.A", "crc-udca2.B"], ["2 would match", "prefix", "the other ids"]),
        (["Gut-A"], ["gut.a"], ["1 would match", "letters and digits"]),
        (["X1.A", "gut.1"], ["1-A", "gut-1"], ["2 would match", "make.names", "the table's ids"]),
        (["X1-A"], ["1-A"], ["1 would match", "make.names", "'X1-A' is '1-A' there"]),
        (["1-A", "gut é"], ["X1.A", "gut..."], ["2 would match", "make.names", "the other ids"]),
        (["S1"], ["S1_S7_L001_R1.fastq.gz"], ["1 would match", "suffix", "the other ids"]),
        (["Probe é"], ["Probe e\u0301"], ["'Probe \\xe9' is 'Probe e\\u0301' there"]),
        (["Müller"], ["MÃ¼ller"], ["1 would match", "another encoding"]),
        (["S001", "S010"], ["S1", "S10"], ["2 would match", "leading zeros"]),
        (["1-2", "MAR1"], ["2-Jan", "1-Mar"], ["2 would match", "dates of the other ids"]),
        (["1", "2"], ["sa1", "sa2"], ["2 would match", "letters", "the other ids"]),
        (["1", "2"], ["1.0", "2.0"], ["2 would match", "zeros, as they do in spreadsheets"]),
        (["µ1", "S–1"], ["\u03bc1", "S-1"], ["2 would match", "look alike", "'\\xb51' is '\\u03bc1'"]),
    ],
)
def test_a_near_miss_is_named(here: list[str], there: list[str], words: list[str]) -> None:
    hint = mismatch_hint(here, there)
    assert all(word in hint for word in words), hint


@pytest.mark.parametrize(
    ("here", "there"),
    [([], []), (["a"], []), ([], ["a"]), (["a"], ["b"]), (["-", ""], ["", "."]), (["a", "b"], ["b", "a"])],
)
def test_no_hint_where_nothing_is_near(here: list[str], there: list[str]) -> None:
    assert mismatch_hint(here, there) == ""


def test_ids_in_both_files_are_no_near_misses() -> None:
    assert mismatch_hint(["1", "2", "s3"], ["1", "2", "S3"]).startswith("1 would match if case")


def test_two_ids_that_became_one_number_count_once() -> None:
    assert mismatch_hint(["1.10", "1.1000"], ["1.1"]).startswith("1 would match")


@given(st.lists(st.text()), st.lists(st.text()))
def test_any_text_can_be_compared(here: list[str], there: list[str]) -> None:
    assert isinstance(mismatch_hint(here, there), str)
