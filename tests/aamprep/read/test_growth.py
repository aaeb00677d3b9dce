"""Ten times the input takes at most fifteen times the time and memory of a reader, in every dimension."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from aamprep.read import (
    read_distances,
    read_metadata,
    read_sequences,
    read_table,
    read_taxonomy,
    read_tree,
)
from aamprep.read.biom.write import write_biom
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import UUID, as_json, write_artifact, write_json
from tests.helpers.growth import Growing, Make, check_growth, parameters, sequence_of
from tests.helpers.newick import balanced, ladder, star

Reader = Callable[..., Any]


def reads(reader: Reader, name: str, content: Callable[[int], str], rule: str = "") -> Make:
    """Return what reads a text of a size, and asserts that its fault is found."""

    def make(size: int, folder: Path) -> Callable[[], object]:
        (folder / name).write_text(content(size), encoding="utf-8", newline="")

        def task() -> None:
            findings = Findings()
            reader(folder / name, findings, isolate=False)
            assert rule in {finding.code for finding in findings} if rule else findings.valid, findings.found

        return task

    return make


def rows(row: Callable[[int], str], head: str = "") -> Callable[[int], str]:
    """Return what joins as many rows as asked for."""
    return lambda size: head + "".join(map(row, range(size)))


def wide(size: int, cell: str = "{}", num_rows: int = 20) -> str:
    """Return metadata of many columns."""
    head = "\t".join(f"c{n}" for n in range(size))
    body = "\t".join(cell.format(n) for n in range(size))
    return f"id\t{head}\n" + "".join(f"s{row}\t{body}\n" for row in range(num_rows))


def matrix(size: int) -> str:
    """Return a distance matrix with this number of cells."""
    side = int(size**0.5)
    head = "".join(f"\ts{n}" for n in range(side))
    values = np.round(np.abs(np.subtract.outer(np.arange(side), np.arange(side))) / side, 4)
    body = "".join(f"s{n}\t" + "\t".join(map(str, row)) + "\n" for n, row in enumerate(values.tolist()))
    return f"{head}\n{body}"


TEXTS = [
    Growing(
        "metadata: rows",
        3000,
        reads(read_metadata, "m.tsv", rows(lambda n: f"s{n}\t{n}\ta b\n", "id\tage\tsex\n")),
    ),
    Growing("metadata: columns", 500, reads(read_metadata, "m.tsv", wide)),
    Growing("metadata: columns of words", 500, reads(read_metadata, "m.tsv", lambda n: wide(n, "w{}"))),
    Growing(
        "metadata: columns with the same name",
        5000,
        reads(
            read_metadata,
            "m.tsv",
            lambda n: "id" + "\tage" * n + "\n" + "s" + "\t1" * n + "\n",
            "metadata-column-duplicate",
        ),
    ),
    Growing(
        "metadata: rows that are too long",
        3000,
        reads(
            read_metadata,
            "m.tsv",
            rows(lambda n: f"s{n}\t1\t2\t3{n % 2 * chr(9) + '4'}\n", "id\ta\n"),
            "metadata-row-length",
        ),
    ),
    Growing(
        "metadata: ids that occur twice",
        3000,
        reads(read_metadata, "m.tsv", rows(lambda n: f"s\t{n}\n", "id\ta\n"), "metadata-id-duplicate"),
    ),
    Growing(
        "metadata: reserved ids",
        3000,
        reads(
            read_metadata,
            "m.tsv",
            rows(lambda n: f"{'id' if n else 's'}\t{n}\n", "id\ta\n"),
            "metadata-id-reserved",
        ),
    ),
    Growing(
        "metadata: words in a numeric column",
        3000,
        reads(
            read_metadata,
            "m.tsv",
            rows(lambda n: f"s{n}\tw{n}\n", "id\ta\n#q2:types\tnumeric\n"),
            "metadata-number",
        ),
    ),
    Growing(
        "metadata: missing values that are not allowed",
        3000,
        reads(
            read_metadata,
            "m.tsv",
            rows(lambda n: f"s{n}\t\tx\n", "id\ta\tb\n#q2:missing\tno-missing\n"),
            "metadata-not-missing",
        ),
    ),
    Growing(
        "metadata: codes",
        3000,
        reads(read_metadata, "m.tsv", rows(lambda n: f"s{n}\t00{n}\n", "id\ta\n"), "metadata-codes"),
    ),
    Growing(
        "metadata: quoted cells over several lines",
        3000,
        reads(read_metadata, "m.tsv", rows(lambda n: f's{n}\t"a\nb"\n', "id\ta\n")),
    ),
    Growing(
        "metadata: one quoted cell of many lines",
        5000,
        reads(read_metadata, "m.tsv", lambda n: 'id\ta\ns\t"' + "x\n" * n + '"\n'),
    ),
    Growing(
        "metadata: a quote that is not closed",
        5000,
        reads(read_metadata, "m.tsv", lambda n: 'id\ta\ns\t"' + "x" * 400 + "x\n" * n, "metadata-format"),
    ),
    Growing(
        "metadata: comments", 20000, reads(read_metadata, "m.tsv", rows(lambda n: f"#{n}\n", "id\ta\ns\t1\n"))
    ),
    Growing(
        "metadata: blank lines",
        100000,
        reads(read_metadata, "m.tsv", lambda n: "id\ta\ns\t1\n" + "\n \r\n\t\n\r" * n),
    ),
    Growing(
        "metadata: byte order marks",
        3000,
        reads(read_metadata, "m.tsv", rows(lambda n: f"\ufeffs{n}\t1\n", "id\ta\n"), "invisible-character"),
    ),
    Growing(
        "metadata: invisible characters",
        3000,
        reads(
            read_metadata,
            "m.tsv",
            rows(lambda n: f"s\u200b{n}\t\u00a0x\u200e\n", "id\ta\n"),
            "invisible-character",
        ),
    ),
    Growing(
        "rep-seqs: sequences",
        5000,
        reads(read_sequences, "r.fasta", rows(lambda n: f">a{n}\n{sequence_of(n)}\n")),
    ),
    Growing(
        "rep-seqs: lines of a sequence",
        50000,
        reads(read_sequences, "r.fasta", lambda n: ">a\n" + "ACGT\n" * n),
    ),
    Growing(
        "rep-seqs: ids that occur twice",
        5000,
        reads(read_sequences, "r.fasta", rows(lambda n: f">a\n{sequence_of(n)}\n"), "fasta-id-duplicate"),
    ),
    Growing(
        "rep-seqs: empty sequences",
        5000,
        reads(read_sequences, "r.fasta", rows(lambda n: f">a{n}\n"), "fasta-sequence-empty"),
    ),
    Growing(
        "rep-seqs: no ids",
        5000,
        reads(read_sequences, "r.fasta", rows(lambda n: f">\n{sequence_of(n)}\n"), "fasta-id-empty"),
    ),
    Growing(
        "rep-seqs: carriage returns",
        5000,
        reads(read_sequences, "r.fasta", rows(lambda n: f">a{n}\r{sequence_of(n)}\r")),
    ),
    Growing("tree: tips", 5000, reads(read_tree, "t.nwk", lambda n: balanced(n, "t{}:0.1".format))),
    Growing("tree: levels", 5000, reads(read_tree, "t.nwk", ladder)),
    Growing(
        "tree: children of a node",
        5000,
        reads(read_tree, "t.nwk", lambda n: star(n, "t{}:1".format), "newick-unrooted"),
    ),
    Growing(
        "tree: quoted names", 5000, reads(read_tree, "t.nwk", lambda n: balanced(n, "'it''s {}':0.1".format))
    ),
    Growing(
        "tree: comments", 5000, reads(read_tree, "t.nwk", lambda n: balanced(n, "[&x[]t{}[y]:[z]0.1".format))
    ),
    Growing(
        "tree: tips with the same name",
        5000,
        reads(read_tree, "t.nwk", lambda n: balanced(n, "t:0.1".format), "newick-tip-duplicate"),
    ),
    Growing(
        "tree: names that occur twice",
        5000,
        reads(
            read_tree,
            "t.nwk",
            lambda n: "({0},{0});".format(balanced(n, "t{}:0.1".format)[:-1]),
            "newick-tip-duplicate",
        ),
    ),
    Growing(
        "tree: no names", 20000, reads(read_tree, "t.nwk", lambda n: star(n, "".format), "newick-tip-unnamed")
    ),
    Growing(
        "tree: no lengths",
        5000,
        reads(read_tree, "t.nwk", lambda n: balanced(n, "t{}".format), "newick-length-missing"),
    ),
    Growing("tree: open parentheses", 50000, reads(read_tree, "t.nwk", lambda n: "(" * n, "newick-syntax")),
    Growing(
        "tree: a comment that is not closed",
        1000000,
        reads(read_tree, "t.nwk", lambda n: "(a[" + "[" * n, "newick-syntax"),
    ),
    Growing(
        "tree: a name that is not closed",
        200000,
        reads(read_tree, "t.nwk", lambda n: "('" + "x''" * n, "newick-syntax"),
    ),
    Growing(
        "tree: lines before an error",
        1000000,
        reads(read_tree, "t.nwk", lambda n: "(" + "\n" * n + "a,b;", "newick-syntax"),
    ),
    Growing(
        "taxonomy: rows",
        5000,
        reads(
            read_taxonomy,
            "x.tsv",
            rows(lambda n: f"a{n}\tk__B; p__{n % 9}; g__{n}\t0.9\n", "Feature ID\tTaxon\tConfidence\n"),
        ),
    ),
    Growing(
        "taxonomy: features with several taxa",
        5000,
        reads(read_taxonomy, "x.tsv", rows(lambda n: f"a{n % 9}\tk__{n}\n"), "taxonomy-id"),
    ),
    Growing(
        "taxonomy: short rows",
        5000,
        reads(read_taxonomy, "x.tsv", rows(lambda n: f"a{n}\n", "id\tTaxon\n"), "taxonomy-format"),
    ),
    Growing(
        "taxonomy: columns",
        200000,
        reads(read_taxonomy, "x.tsv", lambda n: "id\tTaxon" + "\tx" * n + "\na\tb" + "\ty" * n + "\n"),
    ),
    Growing("distances: cells", 40000, reads(read_distances, "d.tsv", matrix)),
]


def table(
    counts: Callable[[int], Any], samples: str = "s{}", features: Callable[[int], str] = sequence_of
) -> Make:
    """Return what reads a BIOM 2 table of some counts, shape (samples, features)."""

    def make(size: int, folder: Path) -> Callable[[], object]:
        matrix = sp.csr_matrix(counts(size))
        names = [samples.format(n) for n in range(matrix.shape[0])]
        write_biom(folder / "t.biom", tuple(names), tuple(map(features, range(matrix.shape[1]))), matrix)
        return lambda: read_table(folder / "t.biom", Findings(), isolate=False)

    return make


def json_table(size: int, folder: Path, is_dense: bool = False, value: float = 3.0) -> Callable[[], object]:
    """Write a BIOM 1 table with a number of features, and return what reads it."""
    counts = np.zeros((size, 10))
    counts[np.arange(size), np.arange(size) % 10] = value
    document = as_json(counts, [f"s{n}" for n in range(10)], [sequence_of(n) for n in range(size)], is_dense)
    path = write_json(folder / "t.biom", document)
    return lambda: read_table(path, Findings(), isolate=False)


def archive(size: int, folder: Path) -> Callable[[], object]:
    """Write an artifact with many members, and return what reads it."""
    path = write_artifact(folder / "t.qza", "Phylogeny[Rooted]", "data/tree.nwk", b"(a:1,b:1);", archive=4)
    with zipfile.ZipFile(path, "a") as file:
        for number in range(size):
            file.writestr(f"{UUID}/provenance/{number}", b"")
    return lambda: read_tree(path, Findings(), isolate=False)


def each(size: int, value: float = 1, side: int = 50) -> Any:
    """Return counts with one entry in each row."""
    return sp.csr_matrix((np.full(size, value), (np.arange(size), np.arange(size) % side)), (size, side))


TABLES = [
    Growing("table: samples", 5000, table(each)),
    Growing("table: features", 5000, table(lambda n: each(n).T)),
    Growing(
        "table: entries",
        100000,
        table(lambda n: sp.random(n // 100, 1000, 0.1, "csr", random_state=0, dtype=float)),
    ),
    Growing("table: negative counts", 5000, table(lambda n: each(n, -1))),
    Growing("table: samples with one id", 5000, table(each, samples="s")),
    Growing("table: features with one id", 5000, table(lambda n: each(n).T, features=lambda n: "ACGT")),
    Growing("table: long ids", 5000, table(each, samples="s" * 500 + "{}")),
    Growing("BIOM 1: features", 5000, json_table),
    Growing("BIOM 1: dense cells", 5000, lambda n, folder: json_table(n, folder, is_dense=True)),
    Growing("BIOM 1: negative counts", 5000, lambda n, folder: json_table(n, folder, value=-1)),
    Growing("artifact: members", 500, archive),
]


@pytest.mark.parametrize(
    "case",
    parameters(TEXTS + TABLES, {"metadata: columns"}),
)
def test_time_and_memory_of_a_reader_grow_as_its_input(case: Growing, tmp_path: Path) -> None:
    check_growth(case, tmp_path)
