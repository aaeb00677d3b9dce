"""Rules for shard sets: the checks of `aamprep verify` and `aamprep merge`.

They have the form of the rules in `aamprep.rules.tables`.
"""

from aamprep.rules import rule as kinds
from aamprep.rules.rule import Rule, note, warning

_COPY = "copy the whole folder again, or recreate it with `aamprep shard`"
_WRITER = "recreate the set with `aamprep shard`; if that wrote it, please report this as a bug"


def error(code: str, requirement: str, fix: str, example: str) -> Rule:
    """Return a rule whose violation causes a shard set to be refused."""
    return kinds.error(code, requirement, fix, example, checked_by=(kinds.MERGE,))


# --- Files: unchanged since the set was written ---

MANIFEST = error(
    "shards-manifest",
    "a shard set has a manifest.json of this format version, which matches manifest.sha256",
    "pass the folder that `aamprep shard` wrote; if this is the folder: " + _COPY,
    "shards: manifest.json and manifest.sha256 do not agree",
)
FILE_MISSING = error(
    "shards-file-missing",
    "every file in the manifest exists and can be read",
    _COPY,
    "shards/samples-train-00003-of-00009.parquet",
)
FILE_CHANGED = error(
    "shards-file-changed",
    "every file has the size, SHA-256 and footer given in the manifest",
    _COPY,
    "shards/asvs.parquet: its sha256 is another",
)
FILE_UNKNOWN = warning(
    "shards-file-unknown",
    "a shard set holds no files other than those in its manifest",
    "the file is not used: remove it, or keep it elsewhere",
    "shards/notes.txt",
)
PAGES = error(
    "shards-pages",
    "every page of every Parquet file can be read and matches its checksum",
    _COPY,
    "shards/tree.parquet: CRC checksum verification failed",
)

# --- Content: as the format requires ---

COLUMNS = error(
    "shards-columns",
    "every file has the required columns, with the right types",
    _WRITER,
    "shards/asvs.parquet, column tokens: list<int32>; fixed_size_list<uint8>[151] is needed",
)
CONTRACT = error(
    "shards-contract",
    "every row passes the pandera schema of its file",
    _WRITER,
    "shards/samples-train-00000-of-00001.parquet: sample S1: counts_finite, in 3 rows",
)
NUMBERS = error(
    "shards-numbers",
    "the numbers in the manifest match the files",
    _WRITER,
    "num_asvs: 770 in the manifest, 768 in the files",
)
TOKENS = error(
    "shards-tokens",
    "the tokens of an ASV spell its sequence",
    _WRITER,
    "shards/asvs.parquet: ASV 4b5e...: 3 ASVs",
)
KEPT_FIRST = error(
    "shards-kept-first",
    "asvs.parquet begins with the ASVs that samples keep, and every ASV occurs in a sample",
    _WRITER,
    "shards/asvs.parquet: ASV 4b5e...: no sample keeps it",
)
TOTALS = error(
    "shards-asv-totals",
    "the prevalence and total count of an ASV match the samples",
    _WRITER,
    "shards/asvs.parquet: ASV 4b5e...: 12 ASVs",
)
SAMPLE_TWICE = error(
    "shards-sample-twice",
    "every sample occurs once in a shard set",
    _WRITER,
    "shards/samples-test-00000-of-00001.parquet: sample S1",
)
ASV_TWICE = error(
    "shards-asv-twice",
    "no ASV of a sample is both kept and dropped",
    _WRITER,
    "sample S1: 2 samples",
)
SELECTION = error(
    "shards-selection",
    "every sample keeps as many ASVs as the token limit allows: with --select abundance, the most abundant",
    _WRITER,
    "sample S1: 2 samples",
)
DEPTHS = error(
    "shards-depths",
    "a sample has no more reads than before rarefaction, and the depth in the manifest if it was rarefied",
    _WRITER,
    "sample S1: 2 samples",
)
SPLITS = error(
    "shards-splits",
    "the files of a split are named and numbered correctly, and samples with the same value in the column of "
    "--split-by are in the same split",
    _WRITER,
    "subject M3: train and test",
)
METADATA_ORDER = error(
    "shards-metadata-order",
    "metadata.parquet has one row for every sample, in the order of the sample files",
    _WRITER,
    "shards/metadata.parquet, row 12: S1; the sample is S7",
)
TREE = error(
    "shards-tree",
    "tree.parquet is a tree: the root comes first, parents precede children, every tip is a distinct ASV",
    _WRITER,
    "shards/tree.parquet, row 12: its parent is row 17",
)
BRANCHES = error(
    "shards-branches",
    "the branches of a sample, its reads under them and its depth in the tree match all of its ASVs",
    _WRITER,
    "sample S1: 2 samples",
)
DISTANCES = error(
    "shards-distances",
    "distances.npy is symmetric, has a row for each sample, and no negative values (NaN if unknown)",
    _WRITER,
    "shards/distances.npy: shape (12, 12); there are 13 samples",
)

# --- Merging ---

MERGE_SAMPLE_TWICE = error(
    "merge-sample-twice",
    "every sample id occurs in one shard set only",
    "if the samples differ, prefix their ids with --prefix-samples: the prefix is the name of the table, or "
    "of its folder for a table.biom, so tables with the same name must be renamed and sharded again; if they "
    "are the same, merge only one of the sets, or shard the other without them (`aamprep shard --where`)",
    "sample S1: in one and in two",
)
MERGE_NO_TREE = warning(
    "merge-no-tree",
    "shard sets with trees are merged with one tree that has all their ASVs",
    "give this tree with --tree: the trees in the sets were pruned to their own ASVs and cannot be joined",
    "two of 2 sets have trees: the merged set has none",
)
MERGE_COLUMN_TYPE = note(
    "merge-column-type",
    "a metadata column has the same type in all sets",
    "nothing, if the column holds words: it is categorical in the merged set",
    "column age: numeric in one, categorical in two",
)
MERGE_DEPTHS = warning(
    "merge-rarefaction-differs",
    "all sets were rarefied to the same depth, or none was",
    "shard each study again with the same --rarefy-depth: unweighted UniFrac depends on depth",
    "one: 1000; two: not rarefied",
)
MERGE_CHOICES = note(
    "merge-choices-differ",
    "all sets were made with the same options",
    "nothing, if this was intended: every sample stays as it is in its set",
    "select: abundance in one, random in two",
)
MERGE_DISTANCES = note(
    "merge-no-distances",
    "the distances cover all pairs of samples",
    "nothing: the matrices lack the pairs across sets, so the merged set has no matrix",
    "one",
)


def catalogue() -> dict[str, Rule]:
    """Return every rule of this module by its code."""
    return {rule.code: rule for rule in globals().values() if isinstance(rule, Rule)}
