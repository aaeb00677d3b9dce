"""Repetitive text never takes a parser long, or much memory: ten times the text takes ten times the time."""

import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aamprep.read import read_table, read_tree
from aamprep.read.distances import parse_distances
from aamprep.read.fasta import parse_fasta
from aamprep.read.lines import filled_lines
from aamprep.read.metadata import parse_metadata
from aamprep.read.newick import parse_newick
from aamprep.read.source import RefusedError
from aamprep.read.taxonomy import parse_taxonomy
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from aamprep.study.id_mismatches import mismatch_hint
from tests.helpers.biom_files import UUID, as_json, write_artifact, write_json

PARSERS: dict[str, tuple[str, Callable[[str, str, Findings], object]]] = {
    "newick": ("(", parse_newick),
    "fasta": (">a\n", parse_fasta),
    "metadata": ("id\ta\n", parse_metadata),
    "taxonomy": ("id\ttaxon\n", parse_taxonomy),
    "distances": ("\ta\n", lambda text, where, _: parse_distances(text, where)),
}
UNITS = ["[", "(", ")", ",", "'", '"', "\t", "\n", "\r", "\r\n", ">", ">\n", ";", ":", " ", " \n", "\tx\n",
         "x\t", "#", "#\n", '"\n"\t', "a b\n", "\u2028", "(a,", "'a'", "[x]", "1", "1\t"]  # fmt: skip
SIZE = 20_000
pieces = st.lists(st.tuples(st.sampled_from(UNITS), st.integers(1, 2000)), max_size=4)


def parse(kind: str, text: str) -> None:
    """Parse a text. The only error is a refusal."""
    try:
        PARSERS[kind][1](text, "file", Findings())
    except RefusedError:
        return


def seconds(kind: str, text: str) -> float:
    start = time.process_time()
    parse(kind, text)
    return time.process_time() - start


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", PARSERS)
def test_time_grows_with_the_text_and_not_with_its_square(kind: str, unit: str) -> None:
    head = PARSERS[kind][0]
    texts = [head + unit * (size // len(unit)) for size in (SIZE, 10 * SIZE)]
    # The best of three, since others use the machine. Less than 20 ms cannot be told from noise.
    short, long = (min(seconds(kind, text) for _ in range(3)) for text in texts)
    assert long < 15 * max(short, 0.02)


@settings(deadline=None, max_examples=settings.default.max_examples // 4)
@given(parts=pieces, has_head=st.booleans())
@pytest.mark.parametrize("kind", PARSERS)
def test_memory_is_a_small_multiple_of_the_text(
    kind: str, parts: list[tuple[str, int]], has_head: bool
) -> None:
    text = PARSERS[kind][0] * has_head + "".join(unit * number for unit, number in parts)
    tracemalloc.start()
    parse(kind, text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * len(text) + 1_000_000


@given(st.text(st.sampled_from("ab\t\n\r \x85\u2028")))
def test_lines_are_those_of_a_text_file(text: str) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    expected = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    assert list(filled_lines(text, "file")) == expected


def test_a_header_of_many_ids_without_their_rows_is_refused_at_once() -> None:
    header = "\t".join(["", *map(str, range(60_000))])
    tracemalloc.start()
    with pytest.raises(RefusedError, match="distances-format"):
        parse_distances(header + "\n0\t1\n", "distances.tsv")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_hints_about_ids_of_many_separators_take_little_memory() -> None:
    here, there = (["._-" * 20_000 + side for side in sides] for sides in ("abc", "def"))
    tracemalloc.start()
    mismatch_hint([*here, *(f"a.b.c.d.e.{i}" for i in range(1000))], [*there, "b.c.d.e.7"])
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("old", ['"shape"', '"id": "S1"'])
def test_a_key_twice_in_a_json_table_is_an_error(tmp_path: Path, old: str) -> None:
    path = write_json(tmp_path / "t.biom", as_json())
    added = '"shape": [1, 1], ' if old == '"shape"' else '"id": "S9", '
    path.write_text(path.read_text().replace(old, added + old, 1))
    findings = Findings()
    assert read_table(path, findings) is None
    assert findings.counts() == {rules.FILE_AMBIGUOUS: 1}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("member", ["data/tree.nwk", "metadata.yaml"])
def test_a_member_twice_in_an_artifact_is_an_error(tmp_path: Path, member: str) -> None:
    path = write_artifact(tmp_path / "t.qza", "Phylogeny[Rooted]", "data/tree.nwk", b"(a:1,b:1);")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{UUID}/{member}", b"(c:1,d:1);")
    findings = Findings()
    assert read_tree(path, findings) is None
    assert findings.counts() == {rules.FILE_AMBIGUOUS: 1}


def test_a_header_with_a_long_line_of_blanks_is_read_at_once(tmp_path: Path) -> None:
    header = {"metadata.yaml": f"uuid: {UUID}\ntype: a{' ' * 10**6}b\n".encode()}
    path = write_artifact(tmp_path / "t.qza", "Phylogeny[Rooted]", "data/tree.nwk", b"(a:1,b:1);", **header)
    findings = Findings()
    start = time.process_time()
    assert read_tree(path, findings) is None
    assert time.process_time() - start < 5
