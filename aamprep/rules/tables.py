"""Every rule that is checked, with a stable code, what holds for valid data, the remedy and an example.

The page of rules in the documentation is generated from this file.
"""

from aamprep.rules.rule import Need, Rule, error, note, warning

# --- Files: what can be wrong before the kind of content matters ---

FILE_EMPTY = error(
    "file-empty",
    "a file holds something",
    "download or export it again; a disk that was full leaves empty files, too",
    "table.biom: 0 bytes",
)
FILE_HTML = error(
    "file-html",
    "a file is data, not a web page",
    "the link led to a page about the file: use its download link (on GitHub, 'Raw')",
    "table.biom: an HTML page",
)
FILE_LFS_POINTER = error(
    "file-lfs-pointer",
    "a file is data, not a Git LFS pointer to it",
    "fetch the content with `git lfs pull`, or download the file itself",
    "table.qza: a Git LFS pointer",
)
FILE_KIND = error(
    "file-kind",
    "a file is of the kind that its role needs",
    "name the right file for this role",
    "tree.nwk: FASTA sequences; a newick tree or a QIIME 2 artifact of one is needed",
)
FILE_TEXT_TABLE = error(
    "file-text-table",
    "a table is BIOM or a QIIME 2 artifact, not text",
    "turn it into BIOM: `biom convert -i table.txt -o table.biom --to-hdf5 --table-type 'OTU table'`",
    "table.txt: tab-separated text",
)
FILE_UNREADABLE = error(
    "file-unreadable",
    "a file is whole",
    "it was cut short or changed on its way: copy or download it again",
    "table.qza: File is not a zip file",
)
FILE_TOO_LARGE = error(
    "file-too-large",
    "what a file says it holds fits the budget",
    "if you trust the file, raise the budget; else ask where it comes from",
    "table.biom, sample/matrix/data: declares 74.5 GiB; the budget is 8.0 GiB",
)
FILE_RATIO = error(
    "file-compression-ratio",
    "a file does not unpack to more than 200 times its size",
    "no real table does so above 256 MB: ask where the file comes from",
    "reads.fasta.gz: 1.0 MiB unpack to more than 256.0 MiB",
)
FILE_ENCODING = error(
    "file-encoding",
    "text is UTF-8",
    "save it as UTF-8 (in a spreadsheet: 'CSV UTF-8' or 'Tab delimited, UTF-8')",
    "metadata.tsv, line 17: byte 0xeb",
)
READER_CRASHED = error(
    "reader-crashed",
    "a file can be read within the limits of memory and time",
    "the file is damaged, hostile, or too large for the memory limit: write it anew with its tool",
    "table.biom: the reader ended with signal SIGSEGV",
)

# --- QIIME 2 artifacts ---

ARTIFACT_TYPE = error(
    "artifact-type",
    "a QIIME 2 artifact is of the type that its role needs",
    "name the artifact of the right type; `qiime tools peek` shows an artifact's type",
    "rep-seqs.qza: FeatureData[AlignedSequence]; FeatureData[Sequence] is needed",
    needs=Need.ARTIFACT,
)
ARTIFACT_NOT_COUNTS = error(
    "artifact-not-counts",
    "a table holds counts of reads: FeatureTable[Frequency]",
    "relative abundances, compositions and balances cannot be turned back into counts: "
    "use the FeatureTable[Frequency] artifact that this one was made from",
    "table.qza: FeatureTable[RelativeFrequency]",
    needs=Need.ARTIFACT,
)
ARTIFACT_UNROOTED = error(
    "artifact-unrooted",
    "a tree has a root: Phylogeny[Rooted]",
    "root it: `aamprep root tree.qza --output tree.nwk`, or `qiime phylogeny midpoint-root`",
    "tree.qza: Phylogeny[Unrooted]",
    needs=Need.ARTIFACT,
)
ARTIFACT_MEMBER = error(
    "artifact-member",
    "a QIIME 2 artifact holds the file that its type promises",
    "the artifact is damaged: export it again from QIIME 2",
    "table.qza: data/feature-table.biom is missing",
    needs=Need.ARTIFACT,
)
ARTIFACT_CHECKSUM = error(
    "artifact-checksum",
    "a QIIME 2 artifact's content agrees with its checksums.md5",
    "the artifact was changed after it was written: use the original",
    "table.qza: data/feature-table.biom",
    needs=Need.ARTIFACT,
)

# --- BIOM tables: structure ---

BIOM_PART_MISSING = error(
    "biom-part-missing",
    "a BIOM table holds ids and a matrix, by sample and by feature",
    "write the table again with the tool that made it",
    "table.biom, sample/ids",
)
BIOM_METADATA_MISSING = warning(
    "biom-metadata-missing",
    "a BIOM 2.1 table has its (possibly empty) metadata groups",
    "nothing is lost here, but the biom library refuses the file: write it again to share it",
    "table.biom, observation/metadata",
)
BIOM_JSON_KEY = warning(
    "biom-json-key",
    "a BIOM 1.0 table has all keys of the format",
    "nothing is lost here, but the biom library refuses the file: write it again to share it",
    "table.biom: type",
)
BIOM_VERSION = error(
    "biom-version",
    "a table is of BIOM version 1.0, 2.0 or 2.1",
    "write the table as BIOM 2.1, with `biom convert --to-hdf5`",
    "table.biom, attribute format-version: 3.7",
)
BIOM_TYPE = error(
    "biom-type",
    "the arrays of a table are of the right type: numbers, whole numbers or text",
    "write the table again with the tool that made it",
    "table.biom, sample/matrix/indices: float64",
)
BIOM_SHAPE = error(
    "biom-shape",
    "the shape that a table declares is the number of its ids",
    "write the table again with the tool that made it",
    "table.biom, attribute shape: [3, 4]; there are 3 features and 3 samples",
)
BIOM_NNZ = error(
    "biom-nnz",
    "the number of entries that a table declares is the one it holds",
    "write the table again with the tool that made it",
    "table.biom, attribute nnz: 7; there are 6 entries",
)
BIOM_LENGTH = error(
    "biom-length",
    "the arrays of a matrix are as long as each other say",
    "the table is damaged: write it again with the tool that made it",
    "table.biom, sample/matrix: 6 indices and 0 values",
)
BIOM_INDPTR = error(
    "biom-indptr",
    "a matrix's indptr starts at 0, never falls, and ends at the number of entries",
    "the table is damaged: write it again with the tool that made it",
    "table.biom, sample/matrix/indptr[2]: 1 after 4",
)
BIOM_INDEX = error(
    "biom-index",
    "every index of a matrix names a row or column that exists",
    "the table is damaged: write it again with the tool that made it",
    "table.biom, sample/matrix/indices[4]: 7; there are 3 features",
)
BIOM_HALVES = error(
    "biom-halves-disagree",
    "the matrix by sample and the matrix by feature hold the same counts",
    "nobody can tell which is right: write the table again with the tool that made it",
    "table.biom, sample 'S1', feature 'TACGG': 5 by sample, 4 by feature",
)
BIOM_FOREIGN = error(
    "biom-not-self-contained",
    "a table lies wholly in its own file: no links, external storage, virtual datasets or unknown filters",
    "copy the table into one plain file with `biom convert`, if you trust where it comes from",
    "table.biom, sample/matrix: an external link",
)

# --- BIOM tables: content ---

SAMPLE_ID_EMPTY = error(
    "sample-id-empty",
    "every sample has an id",
    "name the sample in the table",
    "table.biom, sample 3",
)
SAMPLE_ID_DUPLICATE = error(
    "sample-id-duplicate",
    "no two samples of a table have the same id",
    "rename one of them, or sum them with `qiime feature-table group`",
    "table.biom, samples 3 and 17: 'S1'",
)
FEATURE_ID_EMPTY = error(
    "feature-id-empty",
    "every feature has an id",
    "name the feature in the table",
    "table.biom, feature 3",
)
FEATURE_ID_DUPLICATE = error(
    "feature-id-duplicate",
    "no two features of a table have the same id",
    "sum them into one feature before",
    "table.biom, features 3 and 17: 'TACGG'",
)
ID_NOT_TEXT = error(
    "id-not-text",
    "ids are text in UTF-8",
    "write the table again with ids as text",
    "table.biom, sample 3: b'S\\xff1'",
)
COUNT_NAN = error(
    "count-nan",
    "a count is a number",
    "a missing value is no count: remove the sample, or go back to the table of counts",
    "table.biom, sample 'S1', feature 'TACGG': nan",
)
COUNT_NEGATIVE = error(
    "count-negative",
    "a count is not negative",
    "negative values come from transformations (CLR, balances, differences): go back to the table of counts",
    "table.biom, sample 'S1', feature 'TACGG': -3",
)
COUNT_INFINITE = error(
    "count-infinite",
    "a count is finite",
    "go back to the table of counts",
    "table.biom, sample 'S1', feature 'TACGG': inf",
)
COUNT_TOO_LARGE = error(
    "count-too-large",
    "a count is at most 2^53, up to which every whole number is exact",
    "no sequencing run gives so many reads: go back to the table of counts",
    "table.biom, sample 'S1', feature 'TACGG': 9007199254740993",
)

# --- FASTA ---

FASTA_FORMAT = error(
    "fasta-format",
    "FASTA is a line with '>' and an id, then lines of sequence",
    "export the sequences again as FASTA",
    "rep-seqs.fasta, line 1: 'TACGG'",
    needs=Need.REP_SEQS,
)
FASTA_ID_EMPTY = error(
    "fasta-id-empty",
    "every sequence has an id right after '>'",
    "name the sequence by the feature id that the table uses",
    "rep-seqs.fasta, line 3",
    needs=Need.REP_SEQS,
)
FASTA_ID_DUPLICATE = error(
    "fasta-id-duplicate",
    "no two sequences have the same id (the text up to the first blank)",
    "keep one of them, or give each its own id",
    "rep-seqs.fasta, line 7: 'E_coli', first in line 1",
    needs=Need.REP_SEQS,
)
FASTA_SEQUENCE_EMPTY = error(
    "fasta-sequence-empty",
    "every sequence has at least one base",
    "remove the entry, or export the sequences again",
    "rep-seqs.fasta, line 3: 'ASV2'",
    needs=Need.REP_SEQS,
)

# --- newick ---

NEWICK_SYNTAX = error(
    "newick-syntax",
    "a tree is newick: nested brackets, commas, and ';' at the end",
    "export the tree again; a tree without ';' was cut short",
    "tree.nwk, line 1, column 812: ')' without '('",
    needs=Need.TREE,
)
NEWICK_TIP_DUPLICATE = error(
    "newick-tip-duplicate",
    "no two tips have the same name",
    "prune the tree to one tip for each feature",
    "tree.nwk: tip 'TACGG', 2 times",
    needs=Need.TREE,
)
NEWICK_TIP_UNNAMED = warning(
    "newick-tip-unnamed",
    "every tip has a name",
    "an unnamed tip stands for no ASV; export the tree with names",
    "tree.nwk: 3 tips",
    needs=Need.TREE,
)
NEWICK_UNROOTED = warning(
    "newick-unrooted",
    "the root has two children: with three or more, most tools mean a tree that has no root yet",
    "UniFrac depends on the root; `aamprep root tree.nwk --output rooted.nwk` puts it at the midpoint",
    "tree.nwk: 3 children of the root",
    needs=Need.TREE,
)
NEWICK_LENGTH_MISSING = warning(
    "newick-length-missing",
    "every branch but the root's has a length",
    "a branch without a length counts as 0 in UniFrac; use a tree with lengths",
    "tree.nwk: 12 branches, the first above 'TACGG'",
    needs=Need.TREE,
)
NEWICK_LENGTH_NEGATIVE = warning(
    "newick-length-negative",
    "no branch is shorter than 0",
    "neighbour joining makes such branches; UniFrac is not defined on them: set them to 0",
    "tree.nwk: 2 branches, the first above 'TACGG': -0.00012",
    needs=Need.TREE,
)
NEWICK_LENGTH_INFINITE = error(
    "newick-length-infinite",
    "the length of a branch is finite",
    "use another tree",
    "tree.nwk: 1 branch, above 'TACGG': inf",
    needs=Need.TREE,
)

# --- Metadata ---

METADATA_FORMAT = error(
    "metadata-format",
    "metadata is a tab-separated table with a header",
    "save it as tab-separated text, with a header line whose first cell is 'sample-id'",
    "metadata.tsv, line 4: a quote that is never closed",
    needs=Need.METADATA,
)
METADATA_EMPTY = error(
    "metadata-empty",
    "metadata has a header and at least one sample",
    "add a row for each sample",
    "metadata.tsv: no rows after the header",
    needs=Need.METADATA,
)
METADATA_ID_HEADER = warning(
    "metadata-id-header",
    "the first cell of the header is an id header that QIIME 2 knows, such as sample-id or #SampleID",
    "the first column was taken as sample ids; name it 'sample-id'",
    "metadata.tsv, line 1: 'Run'",
    needs=Need.METADATA,
)
METADATA_ID_EMPTY = error(
    "metadata-id-empty",
    "every row has a sample id in its first cell",
    "fill in the id, or remove the row",
    "metadata.tsv, line 9",
    needs=Need.METADATA,
)
METADATA_ID_DUPLICATE = error(
    "metadata-id-duplicate",
    "a sample has one row",
    "remove one of the rows; only the first was used",
    "metadata.tsv, line 9: 'S1', first in line 3",
    needs=Need.METADATA,
)
METADATA_ID_RESERVED = error(
    "metadata-id-reserved",
    "no sample is named like an id header",
    "files were joined with their headers: remove the second header",
    "metadata.tsv, line 42: 'sample-id'",
    needs=Need.METADATA,
)
METADATA_COLUMN_EMPTY = error(
    "metadata-column-empty",
    "every column has a name",
    "name the column in the header, or remove it",
    "metadata.tsv, line 1, column 4",
    needs=Need.METADATA,
)
METADATA_COLUMN_DUPLICATE = error(
    "metadata-column-duplicate",
    "no two columns have the same name",
    "rename one of them; only the first was used",
    "metadata.tsv, line 1, column 9: 'age', first in column 3",
    needs=Need.METADATA,
)
METADATA_COLUMN_RESERVED = warning(
    "metadata-column-reserved",
    "no column beside the first has the name of an id header",
    "the column was kept, but QIIME 2 refuses the file: rename the column to share it",
    "metadata.tsv, line 1, column 3: 'sample_name'",
    needs=Need.METADATA,
)
METADATA_ROW_LENGTH = error(
    "metadata-row-length",
    "no row has more cells than the header",
    "remove the extra cells, or name their columns; a tab inside a cell needs quotes around the cell",
    "metadata.tsv, line 9: 12 cells, but 11 columns",
    needs=Need.METADATA,
)
METADATA_DIRECTIVE = error(
    "metadata-directive",
    "#q2:types and #q2:missing follow the header directly, once each, with words that QIIME 2 knows",
    "types are numeric or categorical; missing is blank, no-missing or INSDC:missing",
    "metadata.tsv, line 2, column 'age': 'number'",
    needs=Need.METADATA,
)
METADATA_NUMBER = error(
    "metadata-number",
    "a column that #q2:types declares numeric holds finite numbers and empty cells only",
    "empty the cell, declare the column categorical, or INSDC:missing for words such as 'not provided'",
    "metadata.tsv, line 9, column 'age': 'unknown'",
    needs=Need.METADATA,
)
METADATA_NOT_MISSING = error(
    "metadata-not-missing",
    "a column that #q2:missing declares no-missing has no empty cell",
    "fill in the cell, or declare another way of missing",
    "metadata.tsv, line 9, column 'age'",
    needs=Need.METADATA,
)
METADATA_WORDS = note(
    "metadata-missing-words",
    "a column of numbers has empty cells where a number is missing, not words",
    "the column was read as categorical; empty these cells, or declare INSDC:missing with #q2:missing",
    "metadata.tsv, column 'age': 'not provided' in 12 cells",
    needs=Need.METADATA,
)

# --- Distances and taxonomy ---

DISTANCES_FORMAT = error(
    "distances-format",
    "a distance matrix is a tab-separated square table: ids in the header, the same ids in the first column",
    "export it again from QIIME 2 or scikit-bio",
    "distances.tsv, line 4: 8 values, but 9 samples",
    needs=Need.DISTANCES,
)
DISTANCES_ID = error(
    "distances-id",
    "every sample occurs once in a distance matrix, in the same order in rows and columns",
    "export it again from QIIME 2 or scikit-bio",
    "distances.tsv, line 4: 'S7', but column 4 is 'S3'",
    needs=Need.DISTANCES,
)
DISTANCES_VALUE = error(
    "distances-value",
    "a distance is finite and not negative, the same both ways, and 0 to itself",
    "compute the matrix again",
    "distances.tsv, 'S1' to 'S2': -0.2",
    needs=Need.DISTANCES,
)
TAXONOMY_FORMAT = error(
    "taxonomy-format",
    "a taxonomy is a tab-separated table of feature ids and taxa",
    "save it as tab-separated text with the header 'Feature ID', 'Taxon'",
    "taxonomy.tsv, line 4: 1 cell",
    needs=Need.TAXONOMY,
)
TAXONOMY_ID = error(
    "taxonomy-id",
    "a feature has one taxon, and an id",
    "remove the extra row; only the first was used",
    "taxonomy.tsv, line 4: 'TACGG', first in line 2",
    needs=Need.TAXONOMY,
)

# --- Samples, ASVs and the study: the rules across files go here ---


def catalogue() -> dict[str, Rule]:
    """Give every rule of this file by its code."""
    return {rule.code: rule for rule in globals().values() if isinstance(rule, Rule)}


# --- Feature ids and sequences ---------------------------------------------------------------------------

HASH_IDS = error(
    "ids-are-hashes",
    "feature ids are sequences, or hashes whose sequences rep-seqs gives",
    "give the sequences with --rep-seqs rep-seqs.qza (or .fasta), or put that file beside the table",
    "table.qza: 770 ids such as '4b5eeb300368260019c1fbc7a3c718fc'; no rep-seqs were given",
)
OTHER_IDS = error(
    "ids-are-not-sequences",
    "feature ids are nucleotide sequences, or names whose sequences rep-seqs gives",
    "use the table of ASVs from DADA2 or Deblur, before it was collapsed to taxa or clustered to OTUs; "
    "or give --rep-seqs",
    "table.qza: 98 ids such as 'k__Bacteria;p__Firmicutes'; no rep-seqs were given",
)
NO_FEATURES = error(
    "no-features",
    "a table has at least one feature and one sample",
    "export the table again; an empty one is often what a filter left",
    "table.biom: 0 features, 12 samples",
)
NO_SEQUENCE = error(
    "feature-without-sequence",
    "every feature has a sequence: its id is one, or rep-seqs has it",
    "add the feature to rep-seqs, or take it out of the table; its reads are left out until then",
    "table.biom: feature OTU_17",
)
NOT_A_NUCLEOTIDE = error(
    "not-a-nucleotide",
    "a sequence holds IUPAC nucleotide codes only, and at least one",
    "correct the sequence in rep-seqs; the ASV is left out until then",
    "table.qza: ASV 4b5e...: 'E' at base 12",
)
SAME_SEQUENCE = warning(
    "same-sequence-twice",
    "each sequence has one feature id (case does not matter, and U is T)",
    "nothing, if the ids mean the same ASV: their counts are summed and the ids kept as aliases",
    "ACGT...: ids a1, a2",
)
AMBIGUITY_CODES = warning(
    "ambiguity-codes",
    "sequences hold A, C, G and T only; every ambiguity code is read as N",
    "denoise again without ambiguous reads if there are many",
    "3 of 770 ASVs hold ambiguity codes, such as 4b5e...",
)
SEVERAL_LENGTHS = note(
    "several-lengths",
    "all sequences have one length",
    "nothing, for merged paired reads; for single reads, trim them to one length",
    "221 to 259 bases, most often 253",
)
BOTH_ORIENTATIONS = warning(
    "both-orientations",
    "all sequences run in one direction",
    "turn the reverse reads round before denoising (QIIME 2: rescript orient-seqs)",
    "12 ASVs are the reverse complement of another ASV, such as 4b5e...",
)
PRIMER_LEFT_ON = warning(
    "primer-left-on",
    "sequences do not begin with a primer",
    "cut the primer off before denoising (cutadapt): all ASVs share it, so it tells samples apart by nothing",
    "768 of 770 ASVs begin with 515F (GTGYCAGCMGCCGCGGTAA)",
)

# --- Samples ---------------------------------------------------------------------------------------------

EMPTY_SAMPLE = error(
    "sample-empty",
    "a sample has at least one ASV with a count above 0",
    "take it out of the table; `aamprep shard` rejects it and goes on",
    "table.qza: sample 11884.A1",
)
BAD_COUNT = error(
    "count-not-finite",
    "counts are finite and not negative",
    "give raw counts, not log-ratios or scaled values; `aamprep shard` rejects the sample and goes on",
    "table.biom: sample S1, ASV ACGT...: nan",
)
NOT_WHOLE = warning(
    "count-not-whole",
    "counts are whole numbers of reads",
    "give raw counts, not relative abundances; rarefaction refuses these",
    "table.biom: 120 of 4,000 counts, such as 0.25 in sample S1",
)
CANNOT_RAREFY = error(
    "cannot-rarefy",
    "a sample that is rarefied has whole counts, and fewer than a thousand million reads",
    "give raw counts, or leave out --rarefy-depth",
    "table.biom: sample S1: 0.25",
    needs=Need.RAREFACTION,
)
BELOW_DEPTH = error(
    "sample-below-rarefaction-depth",
    "a sample has at least as many reads as the rarefaction depth",
    "choose a smaller --rarefy-depth to keep it",
    "table.qza: sample L1S8: 898 of 1,000",
    needs=Need.RAREFACTION,
)
DUPLICATE_SAMPLE = error(
    "sample-in-two-tables",
    "a sample id is written once",
    "tell tables apart with --prefix-samples, which takes the names of their files; or rename the sample",
    "sample S1: a/table.biom and b/table.biom",
)
CONTRACT = error(
    "sample-breaks-contract",
    "a sample passes the pandera schema of the shards",
    "mend the table where the value says",
    "sample S1: an id is empty",
)
DROPPED_READS = warning(
    "token-limit-drops-reads",
    "the token limit keeps 95 % or more of every sample's reads",
    "choose a larger --token-limit; what is dropped stays on record in the shards",
    "12 of 226 samples keep less, the least 71.3 % (sample S1)",
)
UNRAREFIED = warning(
    "depth-differs",
    "samples that are compared by unweighted UniFrac have one depth: deeper samples show more rare ASVs",
    "rarefy, with the depth that the value suggests or your own (--rarefy-depth)",
    "depths of 898 to 9,820; a depth of 2,000 would keep 31 of 34 samples",
)

# --- Tree and metadata against the table -----------------------------------------------------------------

NOT_IN_TREE = warning(
    "asv-not-in-tree",
    "the tree has a tip for every ASV",
    "make the tree from the same rep-seqs, or see --missing-from-tree: "
    "by default the model sees the ASV, UniFrac does not",
    "tree.nwk: 129 such as ACGT...; 9,970 ASVs in both, 129 only in the table, 0 only in the tree",
    needs=Need.TREE,
)
NO_ASV_IN_TREE = error(
    "tree-of-other-asvs",
    "the tree has a tip for some ASV of each table",
    "give the tree that was made from the ASVs of all tables, or none (--no-tree)",
    "tree.qza: none of 770 ASVs; its tips are called such as 'OTU_1'",
    needs=Need.TREE,
)
NO_SAMPLE_IN_METADATA = warning(
    "metadata-of-other-samples",
    "the metadata have a row for some sample of the table",
    "give this table's metadata, or make the ids the same; as it is, no sample has a cell of metadata",
    "metadata.tsv: none of 952 samples; 802 would match if case were ignored: 's1' is 'S1' there",
    needs=Need.METADATA,
)
SAMPLE_WITHOUT_METADATA = warning(
    "sample-without-metadata",
    "the metadata have a row for every sample",
    "add the rows; without them the sample is kept and its cells are empty",
    "metadata.tsv: 150 such as 11884.A1; 802 samples in both, 150 only in the table, 0 only in the metadata",
    needs=Need.METADATA,
)
METADATA_WITHOUT_SAMPLE = note(
    "metadata-without-sample",
    "the table has a sample for every row of the metadata",
    "nothing: the rows are left out",
    "metadata.tsv: 176 such as 2538.A1; 470 samples in both, 0 only in the table, 176 only in the metadata",
    needs=Need.METADATA,
)
REP_SEQS_WITHOUT_FEATURE = note(
    "rep-seqs-without-feature",
    "the table has a feature for every sequence of rep-seqs",
    "nothing: the sequences are left out; a table that was filtered has fewer features",
    "rep-seqs.qza: 16 such as 4b5e...; 754 features in both, 0 only in the table, 16 only in rep-seqs",
    needs=Need.REP_SEQS,
)
NO_SAMPLE_IN_DISTANCES = error(
    "distances-of-other-samples",
    "a precomputed distance matrix has some sample of the table",
    "give the matrix of this table's samples, or make the ids the same, or give none (--no-distances)",
    "distances.qza: none of 34 samples; the table has ids such as 'L1S8', the distances such as '10317.A1'",
    needs=Need.DISTANCES,
)
SAMPLE_WITHOUT_DISTANCE = warning(
    "sample-without-distance",
    "a precomputed distance matrix has every sample",
    "make the matrix of all samples; those that it lacks take part in no pair",
    "distances.qza: 12 such as 2538.A1; 458 samples in both, 12 only in the table, 0 only in the distances",
    needs=Need.DISTANCES,
)
SPLIT_BY_EMPTY = warning(
    "split-by-empty",
    "every sample has a value in the column of --split-by",
    "fill the cells in: a sample without a value is put into a split on its own, whatever it has to do with "
    "others",
    "metadata.tsv: column host_subject_id: 124 of 952 samples, such as 11884.A1",
    needs=Need.SPLIT_BY,
)
NO_SAMPLE_IN_SPLIT = warning(
    "split-without-samples",
    "with --split-by, each of train, validation and test has samples",
    "choose a column with more values, so that each split gets some",
    "column subject: 34 train, 0 validation, 0 test",
    needs=Need.SPLIT_BY,
)
ONE_VALUE = note(
    "column-with-one-value",
    "a metadata column has more than one value among the samples",
    "nothing: a model can learn nothing from it",
    "metadata.tsv: column env_package: 'human-gut'",
    needs=Need.METADATA,
)

# --- Filters that were asked for -------------------------------------------------------------------------

NOT_ASKED_FOR = note(
    "sample-not-asked-for",
    "a sample's metadata meet every --where",
    "nothing: you asked for it",
    "table.biom: sample S1: body-site=gut: 'tongue'",
    needs=Need.FILTER,
)
BELOW_PREVALENCE = note(
    "asv-below-prevalence",
    "an ASV occurs in at least as many samples as --min-prevalence asks for",
    "nothing: you asked for it",
    "4,100 ASVs, such as ACGT...: below 2",
    needs=Need.FILTER,
)
BELOW_READS = note(
    "asv-below-reads",
    "an ASV has at least as many reads in all as --min-reads asks for",
    "nothing: you asked for it",
    "4,100 ASVs, such as ACGT...: below 10",
    needs=Need.FILTER,
)
ASV_DROPPED_NOT_IN_TREE = note(
    "asv-dropped-not-in-tree",
    "with --missing-from-tree drop, the tree has a tip for every ASV",
    "nothing: you asked for it",
    "129 ASVs, such as ACGT...",
    needs=Need.FILTER,
)
SAMPLE_NOT_IN_TREE = error(
    "sample-not-in-tree",
    "with --missing-from-tree reject, the tree has a tip for every ASV of a sample",
    "keep such samples with --missing-from-tree keep or drop, or give a tree that has the ASVs",
    "table.biom: sample S1: 3 ASVs",
    needs=Need.FILTER,
)
