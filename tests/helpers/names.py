"""Names from files that a library could take for a pattern, code, markup or a name of its own."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

from aam_schemas.common.ids import has_control
from aamprep.read.biom.write import write_biom
from aamprep.read.metadata import is_id_header
from tests.helpers.studies import random_counts, random_sequences

ODD = (
    *(
        "a b",
        "a  b",
        "a/b",
        "a.b",
        "a",
        "A",
        "x" * 300,
        "\u00e9",
        "e\u0301",
        "\u05d0\u05d1\u05d2",
        "\u202eabc",
    ),
    *(
        "\u65e5\u672c",
        "\U0001f600",
        "\U0001f469\u200d\U0001f52c",
        "\u00df",
        "\u0130",
        "x\u00a0y",
        "123",
        "0012",
    ),
    *(
        "1e5",
        "nan",
        "null",
        "None",
        "NA",
        "-",
        "_",
        "__",
        "-x",
        "--help",
        ".",
        "..",
        "//",
        "C:\\x",
        "http://x",
    ),
)
"""Names that are odd, but stand for nothing else."""

RESERVED = (
    *("*", "^.*$", "^age$", "^", "$", "^a.*$", "literal", "len", "index", "column_0", "values", "count"),
    *("check_output", "failure_case", "failure_cases", "schema", "column", "check", "__index_level_0__"),
    *("__fragment_index", "list", "element", "item", "sample_id", "study", "asv", "dropped_asv", "depth"),
    *("split", "tokens", "sequence", "asv_id", "aliases", "taxon", "branch", "metadata_sample_id", "value"),
    *("type", "needed", "row", "kind", "numeric", "categorical", "train", "test", "validation", "level_0"),
)
"""Names and patterns of polars, pandera, Arrow and pandas, and our own names."""

CODE = (
    *(
        "$x$",
        "$$",
        "_x",
        "{}",
        "{0}",
        "{x}",
        "%s",
        "%",
        "%(x)s",
        "[bold]",
        "[/]",
        "[/bold]",
        "[red]x",
        "\\[x]",
    ),
    *(":smile:", "a:1:b", ":100:", "<script>", "<script>alert(1)</script>", "&amp;", "=1+1", "+1", "@x", "'"),
    *(
        '"',
        '"a"',
        "'a'",
        'a"b',
        "\\",
        "a\\",
        "a\\\\",
        "\\n",
        "a,b",
        "a;b",
        "a|b",
        "a=b",
        "a<b",
        "a!=b",
        "a>=1",
    ),
    *("x#y", "~", "`", "`a`", "!", "(a)", "(", "[&U]", "a:1", "${HOME}", "$(ls)", "%20", "#x"),
)
"""Names that are code or markup somewhere."""

NAMES = (*ODD, *RESERVED, *CODE)

_LETTERS = st.characters(exclude_categories=("C", "Zl", "Zp"))


def names() -> st.SearchStrategy[list[str]]:
    """Draw a few distinct names without control characters, whose ends are no blanks."""
    drawn = st.text(_LETTERS, min_size=1, max_size=12).map(str.strip).filter(bool)
    return st.lists(st.one_of(st.sampled_from(NAMES), drawn), min_size=4, max_size=8, unique=True)


def is_metadata_id(name: str) -> bool:
    """Return whether QIIME 2's format can hold a sample id: it is neither a comment nor a header."""
    return not name.startswith("#") and not is_id_header(name)


def is_fasta_id(name: str) -> bool:
    """Return whether FASTA can hold a feature id: blanks end it."""
    return len(name.split()) == 1 and not has_control(name)


@dataclass(frozen=True)
class NamedStudy:
    """A study in which each name stands wherever a name can stand."""

    folder: Path
    names: tuple[str, ...]
    sequences: tuple[str, ...]
    """Sequence of the feature of each name."""
    cells: dict[str, dict[str, str]]
    """Cells of each metadata column by sample."""

    @property
    def table(self) -> Path:
        """Path of the table."""
        return self.folder / "table.biom"

    def beside(self) -> dict[str, Path]:
        """Return the files beside the table, by their role."""
        found = {
            "metadata": "m.tsv",
            "rep_seqs": "r.fasta",
            "taxonomy": "t.tsv",
            "tree": "t.nwk",
            "distances": "d.tsv",
        }
        return {role: self.folder / name for role, name in found.items()}


def write_named_study(folder: Path, given: Sequence[str]) -> NamedStudy:
    """Write a study whose samples, features, columns, cells and taxa have the given names.

    Features that FASTA cannot hold are their sequences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = len(given)
    sequences = random_sequences(size)
    features = [
        name if is_fasta_id(name) else sequence for name, sequence in zip(given, sequences, strict=True)
    ]
    write_biom(folder / "table.biom", tuple(given), tuple(features), sp.csr_matrix(random_counts(size, size)))
    each = list(zip(features, sequences, strict=True))
    (folder / "r.fasta").write_text("".join(f">{name}\n{bases}\n" for name, bases in each), encoding="utf-8")
    taxa = [f"{name}\tk__{given[-1 - row]}" for row, name in enumerate(features)]
    (folder / "t.tsv").write_text("\n".join(["Feature ID\tTaxon", *taxa]) + "\n", encoding="utf-8")
    tips = [f"'{name.replace(chr(39), chr(39) * 2)}':{row + 1}" for row, name in enumerate(features)]
    (folder / "t.nwk").write_text(f"({tips[0]},({','.join(tips[1:])}):1);\n", encoding="utf-8")
    columns = [name for name in given if not is_id_header(name)]
    cells = {
        column: {
            sample: str(number + row) if number % 2 else given[(number * row) % size]
            for row, sample in enumerate(given)
        }
        for number, column in enumerate(columns)
    }
    with (folder / "m.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, dialect="excel-tab", lineterminator="\n")
        writer.writerow(["sample-id", *columns])
        writer.writerows(
            [sample, *(cells[column][sample] for column in columns)]
            for sample in given
            if is_metadata_id(sample)
        )
    values = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) / size
    rows = ["\t".join(["", *given])]
    rows += ["\t".join([name, *map(repr, row)]) for name, row in zip(given, values.tolist(), strict=True)]
    (folder / "d.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return NamedStudy(folder, tuple(given), tuple(sequences), cells)
