"""Rules of shard sets: what `aamprep verify` and `aamprep merge` check, in the form of `rules.py`."""

from aamprep.rules.rule import Rule, error, note, warning

_COPY = "copy the whole folder again, or make it anew with `aamprep shard`"
_WRITER = "the program that wrote the set is at fault: make it anew with `aamprep shard`"


# --- Files: nothing was changed, lost or added since the set was written ---

MANIFEST = error(
    "shards-manifest",
    "a shard set has a manifest.json, of this format version, that agrees with manifest.sha256",
    "name the folder that `aamprep shard` wrote; if this is it: " + _COPY,
    "shards: manifest.json and manifest.sha256 do not agree",
)
FILE_MISSING = error(
    "shards-file-missing",
    "every file that the manifest lists is there and can be read",
    _COPY,
    "shards/samples-train-00003-of-00009.parquet",
)
FILE_CHANGED = error(
    "shards-file-changed",
    "every file has the size, the sha256 and the footer that the manifest lists",
    _COPY,
    "shards/asvs.parquet: its sha256 is another",
)
FILE_UNKNOWN = warning(
    "shards-file-unknown",
    "a shard set holds the files that its manifest lists and no others",
    "nothing reads it: remove it, or keep it elsewhere",
    "shards/notes.txt",
)
PAGES = error(
    "shards-pages",
    "every page of every Parquet file can be read, and agrees with its checksum",
    _COPY,
    "shards/tree.parquet: CRC checksum verification failed",
)

# --- Content: what the files hold is what the format promises ---

COLUMNS = error(
    "shards-columns",
    "a file has the columns of its kind, of the right types",
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
    "the numbers in the manifest are those of the files",
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
    "the ASVs that some sample keeps are the first rows of asvs.parquet, and every ASV is in some sample",
    _WRITER,
    "shards/asvs.parquet: ASV 4b5e...: no sample keeps it",
)
TOTALS = error(
    "shards-asv-totals",
    "an ASV's prevalence and total count are those of the samples",
    _WRITER,
    "shards/asvs.parquet: ASV 4b5e...: 12 ASVs",
)
SAMPLE_TWICE = error(
    "shards-sample-twice",
    "no sample stands in a shard set twice",
    _WRITER,
    "shards/samples-test-00000-of-00001.parquet: sample S1",
)
ASV_TWICE = error(
    "shards-asv-twice",
    "an ASV is either kept or dropped in a sample, never both",
    _WRITER,
    "sample S1: 2 samples",
)
SELECTION = error(
    "shards-selection",
    "a sample keeps as many ASVs as the token limit allows: with --select abundance, the most abundant ones",
    _WRITER,
    "sample S1: 2 samples",
)
DEPTHS = error(
    "shards-depths",
    "a sample has no more reads than before rarefaction, and after it as many as the manifest says",
    _WRITER,
    "sample S1: 2 samples",
)
SPLITS = error(
    "shards-splits",
    "the files of a split are numbered and named for it, and a value of the --split-by column has one split",
    _WRITER,
    "subject M3: train and test",
)
METADATA_ORDER = error(
    "shards-metadata-order",
    "metadata.parquet has a row for every sample, in the order of the sample files",
    _WRITER,
    "shards/metadata.parquet, row 12: S1; the sample is S7",
)
TREE = error(
    "shards-tree",
    "tree.parquet is a tree: one root, first; parents before children; ASVs at the tips, each once",
    _WRITER,
    "shards/tree.parquet, row 12: its parent is row 17",
)
BRANCHES = error(
    "shards-branches",
    "a sample's branches, reads under them and depth in the tree are those of its ASVs, dropped ones too",
    _WRITER,
    "sample S1: 2 samples",
)
DISTANCES = error(
    "shards-distances",
    "distances.npy is a square matrix of numbers with a row for each sample, the same both ways",
    _WRITER,
    "shards/distances.npy: shape (12, 12); there are 13 samples",
)

# --- Merging ---

MERGE_SAMPLE_TWICE = error(
    "merge-sample-twice",
    "a sample id stands in one of the shard sets only",
    "tell the studies apart with --prefix-samples; where it is one sample, leave it out of one table",
    "sample S1: in one and in two",
)
MERGE_NO_TREE = warning(
    "merge-no-tree",
    "shard sets with trees are merged with the one tree that has all their ASVs",
    "give it with --tree: the trees in the sets were pruned to their own ASVs, and nothing tells how the "
    "branches of one lie in another",
    "two of 2 sets have trees: the merged set has none",
)
MERGE_COLUMN_TYPE = note(
    "merge-column-type",
    "a metadata column has one type in all sets",
    "nothing, if words are meant: the column is categorical in the merged set",
    "column age: numeric in one, categorical in two",
)
MERGE_DEPTHS = warning(
    "merge-rarefaction-differs",
    "all sets were rarefied to one depth, or none was",
    "shard each study again with one --rarefy-depth: unweighted UniFrac follows depth",
    "one: 1000; two: not rarefied",
)
MERGE_CHOICES = note(
    "merge-choices-differ",
    "all sets were made with the same choices",
    "nothing, if that was meant: each sample stays as its set has it",
    "select: abundance in one, random in two",
)
MERGE_DISTANCES = note(
    "merge-no-distances",
    "distances are between all samples",
    "nothing: a set's matrix lacks the pairs across sets, so the merged set has none",
    "one",
)


def catalogue() -> dict[str, Rule]:
    """Give every rule of this file by its code."""
    return {rule.code: rule for rule in globals().values() if isinstance(rule, Rule)}
