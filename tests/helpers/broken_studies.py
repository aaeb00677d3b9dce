"""A small study, and for each error rule a way to break it, with what of it should be left.

The tables here are written and read without `aamprep`, so that the tests have an independent reference.
"""

import gzip
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aamprep.read.maxima import LARGEST_SAMPLE, MOST_ENTRIES
from tests.helpers.biom_files import as_json, write_artifact, write_hdf5, write_json
from tests.helpers.studies import random_sequences

NAMES = [f"a{n}" for n in range(6)]
SEQUENCES = dict(zip(NAMES, random_sequences(6, bases=30), strict=True))
SAMPLES = [f"S{n}" for n in range(6)]
COUNTS = np.array(
    [[4, 3, 3, 0, 0, 0], [0, 1, 2, 3, 4, 0], [1, 1, 1, 1, 1, 5], [5, 5, 0, 0, 0, 0], [0, 0, 0, 0, 5, 5],
     [2, 2, 2, 2, 2, 0]],
    dtype=float,
)  # fmt: skip
"""One row per sample. Every sample has 10 reads."""
AGES = {sample: 20.0 + n for n, sample in enumerate(SAMPLES)}
SITES = {sample: "gut" if n % 2 else "skin" for n, sample in enumerate(SAMPLES)}
TAXA = {name: f"k__Bacteria; p__{name}" for name in NAMES}
NEWICK = "(((a0:1,a1:1):1,a2:2):1,((a3:1,a4:1):1,a5:2):1);"

Content = dict[str, Any]
Options = dict[str, Any]
Break = Callable[[Path], Options | None]
"""Breaks the study in a folder. It may return arguments of `aamprep.shard`."""


@dataclass(frozen=True)
class Broken:
    """A way to break the study, and what `shard` should leave out. By default, it writes nothing."""

    change: Break
    is_refused: bool = True
    samples: tuple[str, ...] = ()
    """Samples that are left out."""
    features: tuple[str, ...] = ()
    """ASVs that are left out with their reads."""
    rows: tuple[str, ...] = ()
    """Samples without metadata."""
    cells: tuple[str, ...] = ()
    """Samples without an age."""
    taxa: tuple[str, ...] = ()
    """ASVs without a taxon."""
    tips: tuple[str, ...] = ()
    """ASVs that are missing from the tree."""


def left_out(change: Break, **parts: tuple[str, ...]) -> Broken:
    """Return a way to break the study after which some parts are left out, and the rest is written."""
    return replace(Broken(change), is_refused=False, **parts)


def write_study(folder: Path) -> None:
    """Write the study as the files that `aamprep` finds beside a table."""
    folder.mkdir(parents=True, exist_ok=True)
    table(folder)
    (folder / "rep-seqs.fasta").write_text("".join(f">{name}\n{SEQUENCES[name]}\n" for name in NAMES))
    (folder / "tree.nwk").write_text(NEWICK)
    (folder / "taxonomy.tsv").write_text(
        "Feature ID\tTaxon\n" + "".join(f"{name}\t{TAXA[name]}\n" for name in NAMES)
    )
    metadata(folder)


def expected(broken: Broken) -> Content:
    """Return what a shard set of the broken study should hold."""
    samples = [sample for sample in SAMPLES if sample not in broken.samples]
    counts = {
        sample: {
            SEQUENCES[name]: count
            for name, count in zip(NAMES, COUNTS[SAMPLES.index(sample)], strict=True)
            if count and name not in broken.features
        }
        for sample in samples
    }
    written = {sequence for reads in counts.values() for sequence in reads}
    names = [name for name in NAMES if SEQUENCES[name] in written]
    has_age = set(samples) - {*broken.rows, *broken.cells}
    return {
        "counts": counts,
        "age": {sample: AGES[sample] if sample in has_age else None for sample in samples},
        "site": {sample: None if sample in broken.rows else SITES[sample] for sample in samples},
        "taxon": {SEQUENCES[name]: "" if name in broken.taxa else TAXA[name] for name in names},
        "tips": {SEQUENCES[name] for name in names if name not in broken.tips},
    }


def table(folder: Path, counts: np.ndarray = COUNTS, **ids: Any) -> None:
    """Write table.biom, with other counts or ids."""
    samples, features = ids.get("samples", SAMPLES), ids.get("features", NAMES)
    write_hdf5(folder / "table.biom", counts.T, samples, features)


def metadata(folder: Path, ages: dict[str, Any] = AGES, directive: str = "", header: str = "") -> None:
    """Write metadata.tsv, with other ages, directives or header."""
    rows = "".join(f"{sample}\t{age}\t{SITES[sample]}\n" for sample, age in ages.items())
    (folder / "metadata.tsv").write_text((header or "sample-id\tage\tsite") + "\n" + directive + rows)


# --- Ways to break the study ---


def content_of(name: str, content: str | bytes) -> Break:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def anndata_file(name: str) -> Break:
    """Replace a file by HDF5 with the parts of an AnnData."""

    def change(folder: Path) -> None:
        with h5py.File(folder / name, "w") as file:
            for part in ("X", "obs", "var"):
                file.create_group(part)

    return change


def edited(name: str, old: str, new: str) -> Break:
    """Replace text in a file."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def without(name: str, *more: Break) -> Break:
    """Remove a file, and make other changes."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        for each in more:
            each(folder)

    return change


def hdf5(edit: Callable[[h5py.File], None]) -> Break:
    def change(folder: Path) -> None:
        with h5py.File(folder / "table.biom", "r+") as file:
            edit(file)

    return change


def stored(name: str, values: Callable[[np.ndarray], Any] | None) -> Break:
    """Replace an array of the table, or remove it."""

    def edit(file: h5py.File) -> None:
        old = file[name][:]
        del file[name]
        if values is not None:
            file[name] = values(old)

    return hdf5(edit)


def one_value(axes: tuple[str, ...], value: float) -> Break:
    """Change a count of S1: the first entry of S1 is 1 read of a1."""

    def edit(file: h5py.File) -> None:
        for axis, entry in zip(("sample", "observation"), (3, 5), strict=True):
            if axis in axes:
                assert file[f"{axis}/matrix/data"][entry] == 1.0
                file[f"{axis}/matrix/data"][entry] = value

    return hdf5(edit)


def never_written(file: h5py.File) -> None:
    for name in ("sample/matrix/data", "observation/matrix/data"):
        size = file[name].size
        del file[name]
        file.create_dataset(name, (size,), "f8", chunks=(4,), compression="gzip")


def external(file: h5py.File) -> None:
    del file["sample/ids"]
    file["sample/ids"] = h5py.ExternalLink("/etc/passwd", "/ids")


def attribute(name: str, value: Any) -> Break:
    def edit(file: h5py.File) -> None:
        file.attrs[name] = value

    return hdf5(edit)


def many_entries(folder: Path) -> None:
    """Give S1 more entries than a sample may have: a1 again and again."""

    def edit(file: h5py.File) -> None:
        more = LARGEST_SAMPLE
        for axis, other in (("sample", "observation"), ("observation", "sample")):
            ids = [name.decode() for name in file[f"{axis}/ids"][:]]
            row, column = ids.index("S1" if axis == "sample" else "a1"), 1
            assert [name.decode() for name in file[f"{other}/ids"][:]][column] in ("S1", "a1")
            matrix = file[f"{axis}/matrix"]
            indptr, start = matrix["indptr"][:], int(matrix["indptr"][row])
            arrays = {
                "data": np.insert(matrix["data"][:], start, np.ones(more)),
                "indices": np.insert(matrix["indices"][:], start, np.full(more, column)),
                "indptr": indptr + more * (np.arange(len(indptr)) > row),
            }
            for name, values in arrays.items():
                del matrix[name]
                matrix.create_dataset(name, data=values, chunks=True, compression="gzip")

    hdf5(edit)(folder)


def artifact(role: str, semantic_type: str, member: str, content: str, **changes: bytes) -> Break:
    """Give an artifact for a role."""

    def change(folder: Path) -> Options:
        path = folder / f"{role}-artifact.qza"
        write_artifact(path, semantic_type, member, content.encode(), **changes)
        return {role: path}

    return change


def table_artifact(folder: Path) -> Options:
    raw = (folder / "table.biom").read_bytes()
    path = folder / "relative.qza"
    write_artifact(path, "FeatureTable[RelativeFrequency]", "data/feature-table.biom", raw)
    return {"tables": path}


def twice_in_archive(folder: Path) -> Options:
    import zipfile

    path = folder / "twice.qza"
    write_artifact(path, "Phylogeny[Rooted]", "data/tree.nwk", NEWICK.encode())
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = next(name for name in archive.namelist() if name.endswith("tree.nwk"))
        archive.writestr(name, b"(a0:1,a1:1);")
    return {"tree": path}


def changed_artifact(folder: Path) -> Options:
    path = folder / "changed.qza"
    changes: dict[str, Any] = {"data/tree.nwk": b"(a0:1,a1:1);"}
    write_artifact(path, "Phylogeny[Rooted]", "data/tree.nwk", NEWICK.encode(), **changes)
    return {"tree": path}


def long_name(folder: Path) -> Options:
    """Give a small file with one name, for which the reader needs more memory than it may have."""
    path = folder / "tree.nwk.gz"
    text = "(a0:1," + "x" * (110 << 20) + "\U0001f9a0:1);"
    path.write_bytes(gzip.compress(text.encode(), 1))
    return {"tree": path, "isolate": True}


def bomb(folder: Path) -> Options:
    path = folder / "tree.nwk.gz"
    path.write_bytes(gzip.compress(b"(a0:1," + b" " * (257 << 20) + b"a1:1);", 9))
    return {"tree": path}


def sparse_file(folder: Path) -> None:
    with (folder / "tree.nwk").open("r+b") as file:
        file.truncate(9 << 30)


def comb(folder: Path, samples: tuple[str, str] = ("S0", "S1")) -> None:
    """Write a study of two samples and 8,200 ASVs, whose tree splits off one ASV after another."""
    names = random_sequences(8200, bases=30)
    write_hdf5(folder / "table.biom", np.ones((len(names), 2)), list(samples), names)
    newick = names[0] + ":1"
    parts = [f",{name}:1):1" for name in names[1:]]
    (folder / "tree.nwk").write_text("(" * len(parts) + newick + "".join(parts)[:-2] + ";")


def second_table(folder: Path) -> Options:
    (folder / "more").mkdir()
    write_hdf5(folder / "more" / "table.biom", np.ones((6, 1)), ["S1"], NAMES)
    return {"tables": [folder / "table.biom", folder / "more" / "table.biom"]}


def options(**given: Any) -> Break:
    return lambda _: given


def both(*changes: Break) -> Break:
    def change(folder: Path) -> Options:
        given: Options = {}
        for each in changes:
            given |= each(folder) or {}
        return given

    return change


def json_table(**changes: Any) -> Break:
    def change(folder: Path) -> None:
        document = as_json(COUNTS.T, SAMPLES, NAMES)
        write_json(folder / "table.biom", document | changes)

    return change


def with_sequence(sequence: str) -> Break:
    return edited("rep-seqs.fasta", f">a1\n{SEQUENCES['a1']}\n", f">a1\n{sequence}\n")


def counts_with(**changes: float) -> Break:
    """Change the counts of a1 in samples."""
    counts = COUNTS.copy()
    for sample, value in changes.items():
        counts[SAMPLES.index(sample), 1] = value
    return lambda folder: table(folder, counts)


def ids(axis: str, number: int, name: str) -> Break:
    """Give another id to a sample or feature."""
    names = list(SAMPLES if axis == "samples" else NAMES)
    names[number] = name
    return lambda folder: table(folder, **{axis: names})


def no_features(folder: Path) -> None:
    write_hdf5(folder / "table.biom", np.zeros((0, 0)), [], [])


def counts_of_a1_without_sequence() -> Break:
    """Return a study in which S1 has an invalid count, of a feature that has no sequence."""
    return both(
        one_value(("sample", "observation"), np.nan),
        edited("rep-seqs.fasta", f">a1\n{SEQUENCES['a1']}\n", ""),
    )


MATRIX = "\tS0\tS1\nS0\t0\t0.5\nS1\t0.5\t0\n"
META = "sample-id\tage\tsite\nS0\t20\tskin\nS1\t21\tgut\n"
DNA = "data/dna-sequences.fasta"
FASTA = "".join(f">{name}\n{SEQUENCES[name]}\n" for name in NAMES)
S1, A1 = ("S1",), ("a1",)

TREES: dict[str, Break] = {
    "file-empty": content_of("tree.nwk", b""),
    "file-html": content_of("tree.nwk", "<!DOCTYPE html><html><body>404</body></html>"),
    "file-lfs-pointer": content_of(
        "tree.nwk", f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
    ),
    "file-kind": content_of("tree.nwk", ">a0\nACGT\n"),
    "file-archive": content_of("tree.nwk", b"7z\xbc\xaf\x27\x1c" + bytes(60)),
    "file-spreadsheet": content_of("tree.nwk", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60)),
    "file-parquet": content_of("tree.nwk", b"PAR1" + bytes(60)),
    "file-anndata": anndata_file("tree.nwk"),
    "file-r-data": content_of("tree.nwk", gzip.compress(b"RDX3\nX\n" + bytes(60))),
    "file-fastq": content_of("tree.nwk", "@a0\nACGT\n+\nIIII\n"),
    "file-genbank-embl": content_of("tree.nwk", "LOCUS       a0   4 bp    DNA\nORIGIN\n        1 acgt\n//\n"),
    "artifact-visualization": artifact("tree", "Visualization", "data/index.html", "<html>"),
    "file-unreadable": both(
        without("tree.nwk"),
        lambda folder: {"tree": Path(str(folder / "tree.nwk.gz"))},
        lambda folder: content_of("tree.nwk.gz", gzip.compress(NEWICK.encode() * 50)[:-9])(folder),
    ),
    "file-too-large": sparse_file,
    "file-compression-ratio": bomb,
    "file-too-many-entries": content_of("tree.nwk", "(a0:1" + "," * (MOST_ENTRIES + 1) + ");"),
    "id-control-character": content_of("tree.nwk", "('a\n0':1,a1:1);"),
    "file-ambiguous": twice_in_archive,
    "file-encoding": content_of("tree.nwk", b"(a0\xff:1,a1:1);"),
    "reader-crashed": long_name,
    "artifact-type": artifact("tree", "FeatureData[Sequence]", DNA, FASTA),
    "artifact-unrooted": artifact("tree", "Phylogeny[Unrooted]", "data/tree.nwk", NEWICK),
    "artifact-member": artifact("tree", "Phylogeny[Rooted]", "data/other.nwk", NEWICK),
    "artifact-checksum": changed_artifact,
    "newick-syntax": content_of("tree.nwk", "((a0:1,a1:1);"),
    "tree-other-format": content_of("tree.nwk", "#NEXUS\nbegin trees;\ntree one = (a0:1,a1:1);\nend;\n"),
    "newick-length-word": content_of("tree.nwk", "(a0:NA,a1:1);"),
    "newick-tip-duplicate": content_of("tree.nwk", NEWICK.replace("a5:2", "(a5:2,a1:9):1")),
    "newick-length-infinite": content_of("tree.nwk", "(a0:1e999,a1:1);"),
    "tree-of-other-asvs": content_of("tree.nwk", "(b0:1,b1:1);"),
}
"""Trees that `shard` and `merge` read, by the rule that each violates."""

BROKEN: dict[str, Broken] = {
    **{code: Broken(change) for code, change in TREES.items()},
    "newick-tip-duplicate": left_out(TREES["newick-tip-duplicate"], tips=A1),
    "tree-too-deep": Broken(both(comb, without("metadata.tsv", without("rep-seqs.fasta")))),
    "file-text-table": Broken(
        content_of("table.biom", "# Constructed from biom file\n#OTU ID\tS0\na0\t4.0\n")
    ),
    "file-text-matrix": Broken(content_of("table.biom", "\tS0\tS1\na0\t4\t0\na1\t3\t1\n")),
    "file-text-samples": Broken(
        content_of("table.biom", "\t".join(["", *SEQUENCES.values()]) + "\nS0\t4\t3\t3\t0\t0\t0\n")
    ),
    "file-mothur-shared": Broken(content_of("table.biom", "label\tGroup\tnumOtus\ta0\n0.03\tS0\t1\t4\n")),
    "artifact-not-counts": Broken(table_artifact),
    "biom-part-missing": Broken(stored("sample/ids", None)),
    "biom-version": Broken(attribute("format-version", [3, 7])),
    "biom-type": Broken(stored("sample/matrix/indptr", lambda old: old.astype("f8") + 0.5)),
    "biom-shape": Broken(attribute("shape", [6, 7])),
    "biom-length": Broken(stored("sample/matrix/data", lambda old: old[:-1])),
    "biom-indptr": Broken(stored("sample/matrix/indptr", lambda old: old[[0, 2, 1, *range(3, len(old))]])),
    "biom-index": Broken(stored("sample/matrix/indices", lambda old: old + 5)),
    "biom-halves-disagree": Broken(one_value(("sample",), 2.0)),
    "biom-not-self-contained": Broken(hdf5(external)),
    "biom-unwritten": Broken(hdf5(never_written)),
    "sample-id-empty": left_out(ids("samples", 1, " "), samples=S1),
    "sample-id-duplicate": left_out(ids("samples", 1, "S2"), samples=("S1", "S2")),
    "feature-id-empty": left_out(ids("features", 1, " "), features=A1),
    "feature-id-duplicate": Broken(ids("features", 1, "a2")),
    "id-not-text": Broken(stored("sample/ids", lambda old: np.array([b"\xff", *old[1:]], dtype="S2"))),
    "count-nan": left_out(one_value(("sample", "observation"), np.nan), samples=S1),
    "count-negative": left_out(counts_with(S1=-1), samples=S1),
    "count-infinite": left_out(counts_with(S1=np.inf), samples=S1),
    "count-too-large": left_out(counts_with(S1=2.0**54), samples=S1),
    "count-not-finite": left_out(counts_of_a1_without_sequence(), samples=S1, features=A1),
    "fasta-format": left_out(artifact("rep_seqs", "FeatureData[Sequence]", DNA, "stray text\n" + FASTA)),
    "fasta-id-empty": left_out(edited("rep-seqs.fasta", ">a1", ">"), features=A1),
    "fasta-id-duplicate": left_out(edited("rep-seqs.fasta", ">a5", f">a1\n{'ACGT' * 8}\n>a5"), features=A1),
    "fasta-sequence-empty": left_out(with_sequence(""), features=A1),
    "metadata-format": Broken(edited("metadata.tsv", "skin", '"skin')),
    "metadata-separator": Broken(
        lambda folder: (folder / "metadata.tsv").write_text(META.replace("\t", ";")) and None
    ),
    "metadata-empty": Broken(content_of("metadata.tsv", "sample-id\tage\n")),
    "metadata-id-empty": left_out(edited("metadata.tsv", "S1\t", "\t"), rows=S1),
    "metadata-id-duplicate": Broken(edited("metadata.tsv", "S2\t", "S1\t99.0\tgut\nS2\t")),
    "metadata-id-reserved": Broken(edited("metadata.tsv", "S1\t", "sample-id\tage\tsite\nS1\t")),
    "metadata-column-empty": Broken(edited("metadata.tsv", "age", "")),
    "metadata-column-duplicate": Broken(edited("metadata.tsv", "age", "site")),
    "metadata-header-late": Broken(edited("metadata.tsv", "sample-id", "Survey of 2019\n\nsample-id")),
    "metadata-header-short": Broken(partial(metadata, header="age\tsite")),
    "metadata-row-length": Broken(edited("metadata.tsv", "S1\t", "S1\textra\t")),
    "metadata-directive": Broken(partial(metadata, directive="#q2:types\tnumber\tcategorical\n")),
    "metadata-number": left_out(
        partial(metadata, ages=AGES | {"S1": "old"}, directive="#q2:types\tnumeric\tcategorical\n"), cells=S1
    ),
    "metadata-not-missing": left_out(
        partial(metadata, ages=AGES | {"S1": ""}, directive="#q2:missing\tno-missing\tblank\n"), cells=S1
    ),
    "distances-format": Broken(content_of("distances.tsv", MATRIX.replace("\t0.5\n", "\n", 1))),
    "distances-id": Broken(content_of("distances.tsv", MATRIX.replace("\nS1", "\nS2"))),
    "distances-value": Broken(content_of("distances.tsv", MATRIX.replace("0.5", "1e39"))),
    "distances-of-other-samples": Broken(content_of("distances.tsv", MATRIX.replace("S", "T"))),
    "taxonomy-format": left_out(edited("taxonomy.tsv", f"a1\t{TAXA['a1']}", "a1"), taxa=A1),
    "taxonomy-rank-columns": Broken(content_of("taxonomy.tsv", "id\tKingdom\tPhylum\na1\tA\tB\n")),
    "taxonomy-id": left_out(edited("taxonomy.tsv", "a5\t", "a1\tk__Archaea\na5\t"), taxa=A1),
    "ids-are-hashes": Broken(
        without("rep-seqs.fasta", lambda f: table(f, features=[f"{n:032x}" for n in range(6)]))
    ),
    "ids-are-not-sequences": Broken(without("rep-seqs.fasta")),
    "fasta-other-format": Broken(content_of("rep-seqs.fasta", "CLUSTAL W\n\na0 AC-GT\n")),
    "rep-seqs-of-other-features": Broken(lambda f: table(f, features=[f"b{n}" for n in range(6)])),
    "table-transposed": Broken(lambda f: table(f, COUNTS.T, samples=NAMES, features=SAMPLES)),
    "no-features": Broken(no_features),
    "feature-without-sequence": left_out(
        edited("rep-seqs.fasta", f">a1\n{SEQUENCES['a1']}\n", ""), features=A1
    ),
    "not-a-nucleotide": left_out(with_sequence("ACGTE"), features=A1),
    "sequence-too-long": left_out(with_sequence("ACGTA" * 2001), features=A1),
    "sample-too-large": left_out(many_entries, samples=S1),
    "sample-empty": left_out(
        lambda folder: table(folder, np.where(np.arange(6)[:, None] == 1, 0, COUNTS)), samples=S1
    ),
    "cannot-rarefy": left_out(both(counts_with(S1=1.5), options(rarefy_depth=10)), samples=S1),
    "sample-below-rarefaction-depth": left_out(both(counts_with(S1=0), options(rarefy_depth=10)), samples=S1),
    "sample-in-two-tables": left_out(second_table, samples=S1),
    "sample-not-in-tree": left_out(
        both(content_of("tree.nwk", "((a0:1,a1:1):1,(a2:1,a3:1):1);"), options(missing_from_tree="reject")),
        samples=("S1", "S2", "S4", "S5"),
        tips=("a4", "a5"),
    ),
}
"""A way to break the study for each error rule that `shard` checks."""
