"""Forms of an id: what is left of it after a change that editors, spreadsheets or programs make."""

import html
import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from urllib.parse import unquote

from aamprep.read.invisible import HIDDEN

Forms = Callable[[str], list[str]]
"""Returns the forms of an id to compare. There may be none or several."""

_NUMBER = re.compile(r"[+-]?(\d++(\.\d*+)?|\.\d++)(e[+-]?\d++)?", re.IGNORECASE)
_ANNOTATION = re.compile(r";\w+=")
_HASH = re.compile(r"(?<![0-9a-z])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-z])", re.IGNORECASE)
_SEPARATOR = re.compile(r"[._\-/|:]")
_HIDDEN = re.compile(f"[{re.escape(HIDDEN)}]")
QUOTES = "\"'`\u00ab\u00b4\u00bb\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a"
_ALIKE = str.maketrans(
    # Dashes and quotes, then letters of Cyrillic and Greek.
    "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2018\u2019\u201c\u201d\u00b4`"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf",
    "--------''\"\"''" + "ABEKMHOPCTYXSIJ" + "aceopxyijs" + "ABEZHIKMNOPTYXo",
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WORD = rf"(?:{'|'.join(_MONTHS)})[a-z]*"
_DATE = re.compile(
    rf"(?P<day>\d{{1,4}})[-/. ](?P<month>{_WORD})|(?P<month2>{_WORD})[-/. ](?P<day2>\d{{1,4}})"
    r"|\d{4}-(?P<month3>\d\d)-(?P<day3>\d\d)(?:[ T]00:00:00)?",
    re.IGNORECASE,
)
_MOST_CUTS = 4
"""Number of separators of an id at which a prefix or a suffix can begin or end."""


def same(text: str) -> list[str]:
    """Return an id as it is."""
    return [text]


def composed(text: str) -> list[str]:
    """Return an id with each accented letter as one character, if there is one (Unicode NFC)."""
    return [unicodedata.normalize("NFC", text)]


def unaccented(text: str) -> list[str]:
    """Return an id without accents."""
    letters = unicodedata.normalize("NFKD", text)
    return ["".join(letter for letter in letters if not unicodedata.combining(letter))]


def decoded(text: str) -> list[str]:
    """Return an id as it was before a program read its UTF-8 in another encoding: `é` is `Ã©` then."""
    forms = [text]
    for encoding in () if text.isascii() else ("cp1252", "latin-1"):
        with suppress(UnicodeError):
            forms.append(text.encode(encoding).decode())
    return forms


def unescaped(text: str) -> list[str]:
    """Return an id with the characters that escapes of web pages and addresses stand for."""
    return [unquote(html.unescape(text))]


def visible(text: str) -> list[str]:
    """Return an id without the characters that no editor shows. Odd blanks can stand for ordinary ones."""
    if text.isascii() or not _HIDDEN.search(text):
        return [text]
    blanks = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in text)
    return [_HIDDEN.sub("", text), _HIDDEN.sub("", blanks)]


def unquoted(text: str) -> list[str]:
    """Return an id without quotes around it. Spreadsheets put one before a number that is meant as text."""
    return [text.strip(QUOTES) if text.startswith(tuple(QUOTES)) else text]


def look_alike(text: str) -> list[str]:
    """Return an id with one character for all that look alike: dashes, quotes, Latin and Cyrillic letters."""
    return [text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_ALIKE)]


def without_x(text: str) -> list[str]:
    """Return an id as it is, and without the X that R puts before a digit or a sign."""
    return [text, text[1:]] if text[:1] == "X" and not text[1:2].isalpha() else [text]


def r_names(text: str) -> list[str]:
    """Return an id, and what R's `make.names` makes of it in UTF-8 and in ASCII.

    Source: the help page of `make.names` in R. Invalid characters become dots, and an X is put before a name
    that begins with no letter, and with no dot that is followed by no digit.
    """
    begins = text[:1].isalpha() or (text[:1] == "." and not text[1:2].isdigit())
    raw = text if begins else f"X{text}"
    in_bytes = re.sub(rb"[^\w.]", b".", raw.encode(errors="replace")).decode()
    return [text, re.sub(r"[^\w.]", ".", raw), in_bytes]


def without_annotation(text: str) -> list[str]:
    """Return an id without annotations at its end, such as `;size=123` of VSEARCH."""
    return [_ANNOTATION.split(text, 1)[0].rstrip(";")]


def cut(text: str) -> list[str]:
    """Return the part of an id before the first blank, bar, semicolon or comma."""
    return [re.split(r"[\s|;,]", text, maxsplit=1)[0]]


def no_case(text: str) -> list[str]:
    """Return an id without differences in case."""
    return [text.casefold()]


def no_blanks(text: str) -> list[str]:
    """Return an id without blanks."""
    return ["".join(text.split())]


def no_punctuation(text: str) -> list[str]:
    """Return an id without blanks, dots, dashes and underscores."""
    return [re.sub(r"[\s._-]", "", text)]


def letters_and_digits(text: str) -> list[str]:
    """Return the letters and digits of an id, without differences in case."""
    return [re.sub(r"[\W_]", "", look_alike(text)[0]).casefold()]


def without_prefix(text: str) -> list[str]:
    """Return the rests of an id after its first separators."""
    return [text[match.end() :] for match in islice(_SEPARATOR.finditer(text), _MOST_CUTS)]


def without_suffix(text: str) -> list[str]:
    """Return the parts of an id before its first separators."""
    return [text[: match.start()] for match in islice(_SEPARATOR.finditer(text), _MOST_CUTS)]


def number(text: str) -> list[str]:
    """Return the number that an id is. There is none for other ids."""
    return [repr(float(text))] if _NUMBER.fullmatch(text) else []


def without_zeros(text: str) -> list[str]:
    """Return an id without zeros at the start of its numbers: S1 for S001."""
    return [re.sub(r"(?<![0-9])0+(?=[0-9])", "", text)]


def without_letters(text: str) -> list[str]:
    """Return the number of an id that consists of letters and a number. There is none for other ids."""
    found = re.fullmatch(r"[^\W\d_]+[ ]?(\d+)", text)
    return [found[1]] if found else []


def date_of(text: str) -> list[str]:
    """Return the day and month of a date, or the month and year. There are none for other ids."""
    found = _DATE.fullmatch(text)
    if not found:
        return []
    day, month = found["day"] or found["day2"], found["month"] or found["month2"]
    return [_pair(day or found["day3"], _MONTHS.index(month[:3].lower()) + 1 if month else found["month3"])]


def pair_of(text: str) -> list[str]:
    """Return the two numbers of an id that a spreadsheet takes for a date, such as 1-2 or MAR1."""
    if found := re.fullmatch(r"(\d{1,2})[-/.](\d{1,4})", text):
        return [_pair(found[1], found[2])]
    found = re.fullmatch(rf"({'|'.join(_MONTHS)})[a-z]{{0,6}}[-. ]?(\d{{1,2}})", text, re.IGNORECASE)
    return [_pair(found[2], _MONTHS.index(found[1].lower()) + 1)] if found else []


def _pair(first: str, second: str | int) -> str:
    return "-".join(map(str, sorted((int(first), int(second)))))


def hash_in(text: str) -> list[str]:
    """Return the MD5, SHA-1 or SHA-256 hash that an id holds. There is none for other ids."""
    found = _HASH.search(text)
    return [found[0].lower()] if found else []
