"""Rules for tables and the files that accompany them.

Each rule has a stable code, the requirement that valid data meet, a fix and an example. docs/rules.md is
generated from this module and `aamprep.rules.shards`; the section comments become its headings.
"""

from aamprep.rules.rule import MERGE, SHARD, Effect, Need, Rule, error, note, warning

_BOTH = (SHARD, MERGE)
"""Rules for trees, which `merge` reads, too."""

# --- Files of any format ---

FILE_EMPTY = error(
    "file-empty",
    "the file is not empty",
    "download or export it again; a full disk also leaves empty files",
    "table.biom: 0 bytes",
    checked_by=_BOTH,
)
FILE_HTML = error(
    "file-html",
    "the file contains data, not a web page",
    "the link led to a page about the file: use its download link (on GitHub, 'Raw')",
    "table.biom: an HTML page",
    checked_by=_BOTH,
)
FILE_LFS_POINTER = error(
    "file-lfs-pointer",
    "the file contains data, not a Git LFS pointer to data",
    "fetch the content with `git lfs pull`, or download the file itself",
    "table.qza: a Git LFS pointer",
    checked_by=_BOTH,
)
FILE_KIND = error(
    "file-kind",
    "the file has the format that its role requires",
    "give each file in its role: the table first, sequences with --rep-seqs, a tree with --tree, metadata "
    "with --metadata, a taxonomy with --taxonomy, distances with --distances",
    "tree.nwk: FASTA sequences; a newick tree or a QIIME 2 artifact of one is needed",
    checked_by=_BOTH,
)
FILE_TEXT_TABLE = error(
    "file-text-table",
    "the table is a BIOM file or a QIIME 2 artifact, not text",
    "convert it: `biom convert -i FILE -o table.biom --to-hdf5 --table-type 'OTU table'`",
    "table.txt: tab-separated text",
)
TEXT_MATRIX = error(
    "file-text-matrix",
    "the table is a BIOM file or a QIIME 2 artifact, not text with a row per feature",
    "convert it (for commas, write ',' in place of '\\t', for semicolons ';'): `python -c \"import biom, "
    "pandas as pd; "
    "t = pd.read_csv('FILE', sep='\\t', index_col=0); open('table.biom', 'w').write("
    "biom.Table(t.values, t.index.map(str), t.columns).to_json('pandas'))\"`",
    "otus.txt: 98 columns after the row names, such as 'S1'",
)
TEXT_SAMPLES = error(
    "file-text-samples",
    "the table is a BIOM file or a QIIME 2 artifact, not text with a row per sample, such as DADA2's seqtab",
    "convert it (for commas, write ',' in place of '\\t', for semicolons ';'): `python -c \"import biom, "
    "pandas as pd; "
    "t = pd.read_csv('FILE', sep='\\t', index_col=0).T; open('table.biom', 'w').write("
    "biom.Table(t.values, t.index, t.columns.map(str)).to_json('pandas'))\"`",
    "seqtab.txt: its columns are sequences",
)
TEXT_MOTHUR = error(
    "file-mothur-shared",
    "the table is a BIOM file or a QIIME 2 artifact, not a shared file of mothur",
    "convert it: `python -c \"import biom, pandas as pd; t = pd.read_csv('FILE', sep='\\t', "
    "dtype={'Group': str}).set_index('Group').drop(columns=['label', 'numOtus']).T; "
    "open('table.biom', 'w').write(biom.Table(t.values, t.index, t.columns).to_json('pandas'))\"`",
    "final.shared: label, Group, numOtus",
)
FILE_ARCHIVE = error(
    "file-archive",
    "the file is a data file, not an archive of files",
    "unpack it (`unzip FILE`, `tar -xf FILE`, or the program that packed it), and give the file within; "
    "files "
    "compressed with gzip, bzip2 or xz need not be unpacked",
    "study.zip: zip archive with 'study/table.biom' and 2 more",
    checked_by=_BOTH,
)
FILE_SPREADSHEET = error(
    "file-spreadsheet",
    "the file is not a workbook of a spreadsheet program",
    'convert it with pandas, and openpyxl for .xlsx, odfpy for .ods or xlrd for .xls: `python -c "import '
    "pandas "
    "as pd; pd.read_excel('FILE', dtype=str, keep_default_na=False).to_csv('metadata.tsv', sep='\\t', "
    'index=False)"`; if it is a table of counts, give this text, and the error on it has the next command',
    "metadata.xlsx: Excel workbook (.xlsx)",
    checked_by=_BOTH,
)
FILE_PARQUET = error(
    "file-parquet",
    "the file is not Parquet",
    'convert metadata (without `index=False` if the ids are the index): `python -c "import pandas as pd; '
    "pd.read_parquet('FILE').to_csv('metadata.tsv', sep='\\t', index=False)\"`; convert counts with a row "
    "per "
    "sample and the ids as the index: `python -c \"import biom, pandas as pd; t = pd.read_parquet('FILE').T; "
    "open('table.biom', 'w').write(biom.Table(t.values, t.index.map(str), "
    "t.columns.map(str)).to_json('pandas'))\"`",
    "table.parquet: Parquet",
    checked_by=_BOTH,
)
FILE_ANNDATA = error(
    "file-anndata",
    "the file is not of AnnData or Loom",
    'convert the counts with anndata (`anndata.io.read_loom` for Loom): `python -c "import anndata, biom; '
    "a = anndata.read_h5ad('FILE'); open('table.biom', 'w').write(biom.Table(a.X.T, a.var_names, a.obs_names)"
    ".to_json('anndata'))\"`; `a.obs.to_csv('metadata.tsv', sep='\\t')` writes the metadata",
    "study.h5ad: AnnData (.h5ad)",
    checked_by=_BOTH,
)
FILE_R_DATA = error(
    "file-r-data",
    "the file is not R's own format (RDS, RData)",
    "convert it in R: `x <- readRDS('FILE'); write.table(x, 'FILE.tsv', sep='\\t', quote=FALSE, "
    "col.names=NA)` for "
    "metadata, and for a table of counts, where the error on the text has the next command; "
    "`ape::write.tree(x, 'tree.nwk')` for a tree; for RData, `load('FILE')` in place of `readRDS`",
    "seqtab.rds: data of R (RDS or RData)",
    checked_by=_BOTH,
)
FILE_FASTQ = error(
    "file-fastq",
    "the file is not FASTQ",
    "reads of a sequencer are denoised first, with DADA2 or Deblur; if these are the sequences of ASVs, "
    "convert them: `awk 'NR % 4 == 1 {print \">\" substr($0, 2)} NR % 4 == 2' FILE > rep-seqs.fasta`",
    "rep-seqs.fastq: FASTQ",
    checked_by=_BOTH,
)
FILE_FLAT = error(
    "file-genbank-embl",
    "the file is not a flat file of GenBank or EMBL",
    "convert the sequences ('embl' in place of 'genbank' for EMBL): `python -c \"from skbio import DNA, io; "
    "print(*('>' + s.metadata['LOCUS']['locus_name'] + '\\n' + str(s) for s in io.read('FILE', 'genbank', "
    "constructor=DNA)), sep='\\n')\" > rep-seqs.fasta`",
    "sequences.gb: GenBank flat file",
    checked_by=_BOTH,
)
FILE_UNREADABLE = error(
    "file-unreadable",
    "the file is complete and undamaged",
    "the file was cut short or changed in transfer: copy or download it again",
    "table.qza: File is not a zip file",
    checked_by=_BOTH,
)
FILE_TOO_LARGE = error(
    "file-too-large",
    "the file declares no more data than the budget allows",
    "if you trust the file, raise the budget with --budget; otherwise ask where the file comes from",
    "table.biom, sample/matrix/data: declares 74.5 GiB; the budget is 8.0 GiB",
    checked_by=_BOTH,
)
FILE_RATIO = error(
    "file-compression-ratio",
    "the file does not unpack to more than 200 times its size",
    "no real table above 256 MB compresses this well: ask where the file comes from, and if you trust it, "
    "unpack it first",
    "reads.fasta.gz: 1.0 MiB unpacks to 256.0 MiB or more",
    checked_by=_BOTH,
)
FILE_TOO_MANY = error(
    "file-too-many-entries",
    "a file has at most 8,388,608 (2^23) lines, sequences, features or nodes of a tree; a table and metadata "
    "have at most 2,097,152 samples (2^21); metadata have at most 65,536 columns and 67,108,864 cells",
    "remove the entries that the table does not have, for example with `qiime feature-table filter-seqs` or "
    "`qiime phylogeny filter-tree`; shard a larger study in parts, and merge the sets",
    "tree.nwk: 200,000,000 nodes; at most 8,388,608 are read",
    checked_by=_BOTH,
)
ID_CONTROL = error(
    "id-control-character",
    "ids and column names contain no tabs, line ends or other control characters",
    "rename the sample, feature or column: no text file with one id per line can hold this name",
    "table.biom, sample/ids: 'S1\\nS2'; 1 such names",
    checked_by=_BOTH,
)
INVISIBLE = warning(
    "invisible-character",
    "text has no characters that no editor shows: byte order marks, zero-width spaces, no-break spaces, soft "
    "hyphens, direction marks",
    "remove it where ids must match, since an id without it is another id: "
    "`perl -CSD -pe 's/\\x{200B}//g' FILE > NEW`, with the code point of the finding",
    "metadata.tsv, line 4: U+200B (zero width space) in 'S1\\u200b'; 3 of them",
)
FILE_AMBIGUOUS = error(
    "file-ambiguous",
    "a name occurs once: a key of a JSON object, a member of an archive, a field of an artifact's header",
    "programs differ in which of the two they read: export the file again with the tool that made it",
    "table.biom: key 'data' 2 times",
    checked_by=_BOTH,
)
FILE_ENCODING = error(
    "file-encoding",
    "text is encoded as UTF-8",
    "convert it: `iconv -f UTF-16 -t UTF-8 FILE > NEW`; Excel calls UTF-16 'Unicode text', and text from "
    "Windows "
    "is often `WINDOWS-1252`",
    "metadata.tsv, line 17: byte 0xeb",
    checked_by=_BOTH,
)
READER_CRASHED = error(
    "reader-crashed",
    "the file can be read within the limits on memory and time",
    "the file is damaged, malicious, or too large for its limits, which grow with its size: export it again "
    "with the tool that made it, or unpack it",
    "table.biom: the reader ended with signal SIGSEGV",
    checked_by=_BOTH,
)

# --- QIIME 2 artifacts ---

ARTIFACT_TYPE = error(
    "artifact-type",
    "the QIIME 2 artifact has the semantic type that its role requires",
    "give each artifact in its role: a FeatureTable as the table, FeatureData[Sequence] with --rep-seqs, "
    "Phylogeny[Rooted] with --tree, FeatureData[Taxonomy] with --taxonomy; `qiime tools peek` shows the type",
    "rep-seqs.qza: FeatureData[AlignedSequence]; FeatureData[Sequence] is needed",
    needs=Need.ARTIFACT,
    checked_by=_BOTH,
)
ARTIFACT_VISUALIZATION = error(
    "artifact-visualization",
    "the QIIME 2 file is an artifact (.qza), not a visualization (.qzv)",
    "a visualization is for people: give the artifact that it shows, whose UUID is in its provenance "
    "(https://view.qiime2.org)",
    "table.qzv: Visualization",
    needs=Need.ARTIFACT,
    checked_by=_BOTH,
)
ARTIFACT_NOT_COUNTS = error(
    "artifact-not-counts",
    "the table holds read counts: FeatureTable[Frequency]",
    "relative abundances, compositions and balances cannot be converted back to counts: use the "
    "FeatureTable[Frequency] artifact that this one was made from",
    "table.qza: FeatureTable[RelativeFrequency]",
    needs=Need.ARTIFACT,
)
ARTIFACT_UNROOTED = error(
    "artifact-unrooted",
    "the tree is rooted: Phylogeny[Rooted]",
    "root it: `aamprep root tree.qza --output tree.nwk`, or `qiime phylogeny midpoint-root`",
    "tree.qza: Phylogeny[Unrooted]",
    needs=Need.ARTIFACT,
    checked_by=_BOTH,
)
ARTIFACT_MEMBER = error(
    "artifact-member",
    "the QIIME 2 artifact contains the data file of its type",
    "the artifact is damaged: export it again from QIIME 2",
    "table.qza: data/feature-table.biom is missing",
    needs=Need.ARTIFACT,
    checked_by=_BOTH,
)
ARTIFACT_CHECKSUM = error(
    "artifact-checksum",
    "the content of the QIIME 2 artifact matches its checksums (checksums.md5 or checksums.sha512)",
    "the artifact was changed after it was written: use the original",
    "table.qza: data/feature-table.biom, checksums.sha512",
    needs=Need.ARTIFACT,
    checked_by=_BOTH,
)
ARTIFACT_UNVERIFIED = warning(
    "artifact-not-verified",
    "a QIIME 2 artifact of archive version 5 or newer has checksums of an algorithm that aamprep knows",
    "the data were read, but not compared with these checksums: if the artifact came to you over a network, "
    "compare it with the original",
    "table.qza: no file of checksums",
    needs=Need.ARTIFACT,
)
ARTIFACT_VERSION = warning(
    "artifact-version",
    "the QIIME 2 artifact has an archive version that aamprep knows: 0 to 7.1",
    "the data were read as in version 7.1: compare the facts that `aamprep inspect` reports with those of "
    "QIIME 2, or install a newer aamprep",
    "table.qza: 8.0; aamprep knows 0 to 7.1",
    needs=Need.ARTIFACT,
)

# --- BIOM tables: structure ---

BIOM_PART_MISSING = error(
    "biom-part-missing",
    "the BIOM table contains ids and a matrix, by sample and by feature",
    "export the table again with the tool that made it",
    "table.biom, sample/ids",
)
BIOM_METADATA_MISSING = warning(
    "biom-metadata-missing",
    "a BIOM 2.1 table has metadata groups, which may be empty",
    "aamprep does not need them, but the biom library refuses the file: export it again before you share it",
    "table.biom, observation/metadata",
)
BIOM_ATTRIBUTE = warning(
    "biom-attribute",
    "a BIOM 2.1 table has the attributes format-version, shape and nnz, which are numbers",
    "aamprep does not need this attribute, but other programs may refuse the file: export it again before "
    "you share it",
    "table.biom, attribute nnz: missing",
)
BIOM_ONE_MATRIX = warning(
    "biom-one-matrix",
    "a BIOM 2.1 table holds its counts twice, by sample and by feature",
    "the counts were read from the other matrix, and could not be compared: export the table again before "
    "you share it",
    "table.biom, sample/matrix: missing",
)
BIOM_JSON_KEY = warning(
    "biom-json-key",
    "a BIOM 1.0 table has all keys of the format",
    "aamprep does not need this key, but the biom library refuses the file: export it again before you "
    "share it",
    "table.biom: type",
)
BIOM_VERSION = error(
    "biom-version",
    "the table is in BIOM version 1.0, 2.0 or 2.1",
    "convert it to BIOM 2.1: `biom convert -i FILE -o table.biom --to-hdf5`",
    "table.biom, attribute format-version: 3.7",
)
BIOM_TYPE = error(
    "biom-type",
    "the arrays of the table have the right types: numbers, integers or text",
    "export the table again with the tool that made it",
    "table.biom, sample/matrix/indices: float64",
)
BIOM_SHAPE = error(
    "biom-shape",
    "the declared shape of the table matches its numbers of features and samples",
    "export the table again with the tool that made it",
    "table.biom, attribute shape: [3, 4]; there are 3 features and 3 samples",
)
BIOM_NNZ = warning(
    "biom-nnz",
    "the declared number of entries matches the number of entries in the table",
    "all entries were read, as the biom library does; if the table may have been cut, export it again",
    "table.biom, attribute nnz: 7; there are 6 entries",
)
BIOM_LENGTH = error(
    "biom-length",
    "the arrays of a matrix have matching lengths",
    "the table is damaged: export it again with the tool that made it",
    "table.biom, sample/matrix: 6 indices and 0 values",
)
BIOM_INDPTR = error(
    "biom-indptr",
    "the indptr of a matrix starts at 0, never decreases, and ends at the number of entries",
    "the table is damaged: export it again with the tool that made it",
    "table.biom, sample/matrix/indptr[2]: 1 after 4",
)
BIOM_INDEX = error(
    "biom-index",
    "every index of a matrix refers to an existing row or column",
    "the table is damaged: export it again with the tool that made it",
    "table.biom, sample/matrix/indices[4]: 7; must be between 0 and 2",
)
BIOM_HALVES = error(
    "biom-halves-disagree",
    "the matrix by sample and the matrix by feature hold the same counts",
    "there is no way to know which is right: export the table again with the tool that made it",
    "table.biom: 1 samples: S1; 1 features: TACGG",
)
BIOM_FOREIGN = error(
    "biom-not-self-contained",
    "the table is self-contained: no links, external storage, virtual datasets or unknown filters",
    "if you trust its source, copy the table into a plain file: "
    "`biom convert -i FILE -o table.biom --to-hdf5`",
    "table.biom, sample/matrix: an external link",
)

BIOM_UNWRITTEN = error(
    "biom-unwritten",
    "all values of an array are stored in the file",
    "the program that wrote the file was stopped too early: export the table again",
    "table.biom, sample/matrix/data: 0 of 1,145 chunks are stored",
)

# --- BIOM tables: content ---

SAMPLE_ID_EMPTY = error(
    "sample-id-empty",
    "every sample has an id",
    "give the sample an id in the table",
    "table.biom, sample 3",
    effect=Effect.SAMPLE,
)
SAMPLE_ID_DUPLICATE = error(
    "sample-id-duplicate",
    "sample ids are unique within a table",
    "make the table again with an id for each sample: biom and QIIME 2 refuse such a table, too",
    "table.biom, samples 3 and 17: 'S1'",
    effect=Effect.SAMPLE,
)
FEATURE_ID_EMPTY = error(
    "feature-id-empty",
    "every feature has an id",
    "give the feature an id in the table",
    "table.biom, feature 3",
    effect=Effect.FEATURE,
)
FEATURE_ID_DUPLICATE = error(
    "feature-id-duplicate",
    "feature ids are unique within a table",
    "make the table again with each feature once: biom and QIIME 2 refuse such a table, too",
    "table.biom, features 3 and 17: 'TACGG'",
)
ID_NOT_TEXT = error(
    "id-not-text",
    "ids are UTF-8 text",
    "export the table again with text ids",
    "table.biom, sample 3: b'S\\xff1'",
)
COUNT_NAN = error(
    "count-nan",
    "counts are numbers, not NaN",
    "remove the sample, or use the table of raw counts",
    "table.biom, sample 'S1', feature 'TACGG': nan",
    effect=Effect.SAMPLE,
)
COUNT_NEGATIVE = error(
    "count-negative",
    "counts are not negative",
    "negative values come from transformations (CLR, balances, differences): use the table of raw counts",
    "table.biom, sample 'S1', feature 'TACGG': -3",
    effect=Effect.SAMPLE,
)
COUNT_INFINITE = error(
    "count-infinite",
    "counts are finite",
    "use the table of raw counts",
    "table.biom, sample 'S1', feature 'TACGG': inf",
    effect=Effect.SAMPLE,
)
COUNT_TOO_LARGE = error(
    "count-too-large",
    "counts are at most 2^53, the limit up to which every integer is exact",
    "no sequencing run yields so many reads: use the table of raw counts",
    "table.biom, sample 'S1', feature 'TACGG': 9007199254740993",
    effect=Effect.SAMPLE,
)

# --- FASTA ---

FASTA_FORMAT = error(
    "fasta-format",
    "a FASTA entry is a line with '>' and an id, followed by lines of sequence",
    "export the sequences again as FASTA",
    "rep-seqs.fasta, line 1: 'TACGG'",
    needs=Need.REP_SEQS,
    effect=Effect.TEXT,
)
FASTA_OTHER_FORMAT = error(
    "fasta-other-format",
    "rep-seqs are FASTA or a QIIME 2 artifact, not an alignment format or a table",
    "convert a table of ids and sequences: "
    '`awk -F \'\\t\' \'{gsub(/"/, ""); print ">" $1 "\\n" $2}\' FILE > NEW`; or export the '
    "unaligned sequences as FASTA from the program that wrote them",
    "rep-seqs.fasta: Clustal",
    needs=Need.REP_SEQS,
)
FASTA_ID_EMPTY = error(
    "fasta-id-empty",
    "every sequence has an id directly after '>'",
    "use the feature id from the table as the id of the sequence",
    "rep-seqs.fasta, line 3",
    needs=Need.REP_SEQS,
    effect=Effect.SEQUENCE,
)
FASTA_ID_DUPLICATE = error(
    "fasta-id-duplicate",
    "all entries with the same id (the text up to the first blank) have the same sequence",
    "keep the right one of the entries, or give each its own id",
    "rep-seqs.fasta, line 7: 'E_coli', another sequence in line 1",
    needs=Need.REP_SEQS,
    effect=Effect.SEQUENCE,
)
FASTA_SEQUENCE_EMPTY = error(
    "fasta-sequence-empty",
    "every sequence has at least one base",
    "remove the entry, or export the sequences again",
    "rep-seqs.fasta, line 3: 'ASV2'",
    needs=Need.REP_SEQS,
    effect=Effect.SEQUENCE,
)

# --- Newick ---

NEWICK_SYNTAX = error(
    "newick-syntax",
    "the tree is valid Newick: nested parentheses, commas, and ';' at the end",
    "export the tree again; a tree without ';' was cut short",
    "tree.nwk, line 1, column 812: ')' without '('",
    needs=Need.TREE,
    checked_by=_BOTH,
)
TREE_FORMAT = error(
    "tree-other-format",
    "the tree is Newick, not NEXUS or PhyloXML",
    "convert it, in R with `ape::write.tree(ape::read.nexus('FILE'), 'tree.nwk')`, or with Biopython: "
    "`python -c \"from Bio import Phylo; Phylo.convert('FILE', 'nexus', 'tree.nwk', 'newick')\"` "
    "('phyloxml' in place of 'nexus' for PhyloXML)",
    "tree.nex: NEXUS",
    needs=Need.TREE,
    checked_by=_BOTH,
)
NEWICK_LENGTH_WORD = error(
    "newick-length-word",
    "branch lengths are numbers, not NA or NaN",
    "leave such lengths out, which makes them missing: "
    "`sed -E 's/:[[:space:]]*(NA|NaN|nan|NAN|null)//g' FILE > tree.nwk`",
    "tree.nwk, line 1, column 4: 'NA'",
    needs=Need.TREE,
    checked_by=_BOTH,
)
NEWICK_TIP_DUPLICATE = error(
    "newick-tip-duplicate",
    "tip names are unique",
    "prune the tree to one tip per feature",
    "tree.nwk: tip 'TACGG', 2 times",
    needs=Need.TREE,
    effect=Effect.TIP,
    checked_by=_BOTH,
)
NEWICK_TIP_UNNAMED = warning(
    "newick-tip-unnamed",
    "every tip has a name",
    "an unnamed tip matches no ASV; export the tree with names",
    "tree.nwk: 3 tips",
    needs=Need.TREE,
)
NEWICK_UNROOTED = warning(
    "newick-unrooted",
    "the root has two children: to most tools, three or more mean that the tree is unrooted",
    "UniFrac depends on the root; `aamprep root tree.nwk --output rooted.nwk` places it at the midpoint",
    "tree.nwk: 3 children of the root",
    needs=Need.TREE,
)
NEWICK_LENGTH_MISSING = warning(
    "newick-length-missing",
    "every branch has a length, except the root's",
    "UniFrac takes a missing length as 0: if that is wrong, use a tree with branch lengths",
    "tree.nwk: 12 branches, the first above 'TACGG'",
    needs=Need.TREE,
)
NEWICK_LENGTH_NEGATIVE = warning(
    "newick-length-negative",
    "branch lengths are not negative",
    "nothing, for the small ones of neighbor joining: they were read as 0, since UniFrac is not defined for "
    "them",
    "tree.nwk: 2 branches, the first above 'TACGG': -0.00012",
    needs=Need.TREE,
)
NEWICK_LENGTH_INFINITE = error(
    "newick-length-infinite",
    "branch lengths are finite",
    "build the tree again, or leave the length out, which makes it missing",
    "tree.nwk: 1 branch, above 'TACGG': inf",
    needs=Need.TREE,
    checked_by=_BOTH,
)

TREE_TOO_DEEP = error(
    "tree-too-deep",
    "no ASV is more than 65,536 branches from the root, and the paths from the root to all ASVs have at most "
    "33,554,432 (2^25) branches, or 128 for each ASV",
    "give a tree with fewer levels, or none (--no-tree)",
    "tree.nwk: an ASV is 65,539 branches from the root; at most 65,536 are read",
    needs=Need.TREE,
    checked_by=_BOTH,
)

# --- Metadata ---

METADATA_FORMAT = error(
    "metadata-format",
    "metadata is a tab-separated table with a header",
    "save it as tab-separated text, with a header line whose first cell is 'sample-id'",
    "metadata.tsv, line 4: a quote that is never closed",
    needs=Need.METADATA,
)
METADATA_SEPARATOR = error(
    "metadata-separator",
    "cells are separated by tabs, not by commas, semicolons or blanks",
    "convert it (`sep=','` for commas, `sep=';'` for semicolons, `sep=r'\\s+'` for blanks): "
    "`python -c \"import pandas as pd; pd.read_csv('FILE', sep=',', dtype=str, keep_default_na=False)"
    ".to_csv('metadata.tsv', sep='\\t', index=False)\"`",
    "metadata.csv, line 1: commas",
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
    "the first cell of the header is an id header that QIIME 2 recognizes, such as sample-id or #SampleID",
    "the first column was used as sample ids; name it 'sample-id'",
    "metadata.tsv, line 1: 'Run'",
    needs=Need.METADATA,
)
METADATA_ID_EMPTY = error(
    "metadata-id-empty",
    "every row has a sample id in its first cell",
    "fill in the id, or remove the row",
    "metadata.tsv, line 9",
    needs=Need.METADATA,
    effect=Effect.ROW,
)
METADATA_ID_DUPLICATE = error(
    "metadata-id-duplicate",
    "every sample has one row",
    "keep the right one of the rows",
    "metadata.tsv, line 9: 'S1', first in line 3",
    needs=Need.METADATA,
)
METADATA_ID_RESERVED = error(
    "metadata-id-reserved",
    "no sample id is an id header",
    "files were concatenated with their headers: remove the second header",
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
    "column names are unique",
    "rename or remove one of the columns",
    "metadata.tsv, line 1, column 9: 'age', first in column 3",
    needs=Need.METADATA,
)
METADATA_COLUMN_RESERVED = warning(
    "metadata-column-reserved",
    "only the first column has the name of an id header",
    "the column was kept, but QIIME 2 refuses the file: rename the column before you share it",
    "metadata.tsv, line 1, column 3: 'sample_name'",
    needs=Need.METADATA,
)
METADATA_COLUMN_RENAMED = note(
    "metadata-column-renamed",
    "no column of the metadata has the name of the column of sample ids in the shards, `sample_id`",
    "nothing: the column has another name in metadata.parquet",
    "metadata.tsv: column sample_id: metadata_sample_id in the shards",
    needs=Need.METADATA,
)
METADATA_HEADER_LATE = error(
    "metadata-header-late",
    "only comments stand above the header",
    "remove the lines above the header, or begin each of them with `#`",
    "metadata.tsv, line 3: 'sample-id', below 'Survey of 2019' in line 1",
    needs=Need.METADATA,
)
METADATA_HEADER_SHORT = error(
    "metadata-header-short",
    "the header names every column, that of the sample ids included",
    "R's write.table leaves the header one cell short; write it with col.names=NA, or with row.names=FALSE "
    "if a column holds the sample ids",
    "metadata.tsv, line 1: 2 cells, but every row has 3",
    needs=Need.METADATA,
)
METADATA_ROW_LENGTH = error(
    "metadata-row-length",
    "no row has more cells than the header",
    "remove the extra cells, or name their columns; quote cells that contain a tab",
    "metadata.tsv, line 9: 12 cells, but 11 columns",
    needs=Need.METADATA,
)
METADATA_DIRECTIVE = error(
    "metadata-directive",
    "#q2:types and #q2:missing follow the header directly, once each, with values that QIIME 2 recognizes",
    "types are numeric or categorical; missing is blank, no-missing or INSDC:missing",
    "metadata.tsv, line 2, column 'age': 'number'",
    needs=Need.METADATA,
)
METADATA_NUMBER = error(
    "metadata-number",
    "a column declared numeric with #q2:types holds finite numbers and empty cells only",
    "empty the cell, or declare the column categorical; for words such as 'not provided', declare it "
    "INSDC:missing with #q2:missing",
    "metadata.tsv, line 9, column 'age': 'unknown'",
    needs=Need.METADATA,
    effect=Effect.CELL,
)
METADATA_NOT_MISSING = error(
    "metadata-not-missing",
    "a column declared no-missing with #q2:missing has no empty cell",
    "fill in the cell, or declare another missing-value scheme",
    "metadata.tsv, line 9, column 'age'",
    needs=Need.METADATA,
    effect=Effect.CELL,
)
METADATA_WORDS = note(
    "metadata-missing-words",
    "a missing number is an empty cell, not a word",
    "the column was read as categorical: empty these cells. Only the words 'not applicable', 'missing', 'not "
    "collected', 'not provided' and 'restricted access' may stay, if the column is declared INSDC:missing "
    "with #q2:missing",
    "metadata.tsv, column 'age': 'not provided' in 12 cells",
    needs=Need.METADATA,
)

METADATA_CODES = note(
    "metadata-codes",
    "a column of numbers has no codes: no leading zeros, and no whole numbers above 2^53, which lose digits",
    "nothing, if they are codes: the column was read as categorical, so every digit counts; if they are "
    "measurements, declare the column numeric with #q2:types",
    "metadata.tsv, column 'barcode': 12 cells, such as 10317000012345671",
    needs=Need.METADATA,
)

# --- Distances and taxonomy ---

DISTANCES_FORMAT = error(
    "distances-format",
    "a distance matrix is a square tab-separated table with the same ids in the header and the first column",
    "export it again from QIIME 2 or scikit-bio; if the file only lies beside the table, leave it out with "
    "--no-distances",
    "distances.tsv, line 4: 8 values, but 9 samples",
    needs=Need.DISTANCES,
)
DISTANCES_ID = error(
    "distances-id",
    "rows and columns of a distance matrix are the same samples in the same order, each once",
    "export it again from QIIME 2 or scikit-bio",
    "distances.tsv, line 4: 'S7', but column 4 is 'S3'",
    needs=Need.DISTANCES,
)
DISTANCES_VALUE = error(
    "distances-value",
    "distances are finite (at most 3.4e38), not negative and symmetric, with 0 on the diagonal",
    "compute the matrix again",
    "distances.tsv: S1 to S2: -0.2; 2 such cells",
    needs=Need.DISTANCES,
)
TAXONOMY_FORMAT = error(
    "taxonomy-format",
    "a taxonomy is a tab-separated table of feature ids and taxa",
    "convert it (for semicolons, write ';' in place of ','): `python -c \"import pandas as pd; "
    "pd.read_csv('FILE', "
    "sep=',', dtype=str, keep_default_na=False).to_csv('taxonomy.tsv', sep='\\t', index=False)\"`; the "
    "first columns "
    "are 'Feature ID' and 'Taxon'",
    "taxonomy.tsv, line 4: 1 cell",
    needs=Need.TAXONOMY,
    effect=Effect.TAXON,
)
TAXONOMY_RANKS = error(
    "taxonomy-rank-columns",
    "a taxonomy has one column of taxa, such as 'k__Bacteria; p__Firmicutes', not a column for each rank",
    "join the ranks (for commas, write ',' in place of '\\t', for semicolons ';'): `python -c \"import "
    "pandas as pd; pd.read_csv('FILE', "
    "sep='\\t', index_col=0, dtype=str, keep_default_na=False).agg('; '.join, axis=1).rename('Taxon')"
    ".rename_axis('Feature ID').to_csv('taxonomy.tsv', sep='\\t')\"`",
    "taxa.tsv, line 1: Kingdom, Phylum, Class",
    needs=Need.TAXONOMY,
)
TAXONOMY_ID = error(
    "taxonomy-id",
    "every row has a feature id, and all rows of a feature have the same taxon",
    "fill in the id, or keep the right one of the rows",
    "taxonomy.tsv, line 4: 'TACGG' is 'k__Archaea', but 'k__Bacteria' above",
    needs=Need.TAXONOMY,
    effect=Effect.TAXON,
)

# --- Feature ids and sequences ---

HASH_IDS = error(
    "ids-are-hashes",
    "feature ids are sequences, or hashes of sequences that are given as rep-seqs",
    "give the sequences with --rep-seqs rep-seqs.qza (or .fasta), or put that file next to the table, where "
    "commands find it; in Python, give rep_seqs='rep-seqs.qza'",
    "table.qza: 770 ids, such as '4b5eeb300368260019c1fbc7a3c718fc'; no rep-seqs were given",
)
OTHER_IDS = error(
    "ids-are-not-sequences",
    "feature ids are nucleotide sequences, or names of sequences that are given as rep-seqs",
    "use the ASV table from DADA2 or Deblur, before it was collapsed to taxa or clustered into OTUs; or "
    "give the sequences of its features with --rep-seqs; features without one, such as metabolites or taxa "
    "of shotgun reads, cannot be used",
    "table.qza: 98 ids, such as 'k__Bacteria;p__Firmicutes'; no rep-seqs were given",
)
OTHER_REP_SEQS = error(
    "rep-seqs-of-other-features",
    "rep-seqs have a sequence for at least one feature of each table",
    "give the rep-seqs that were made with this table, or make the ids match; the id of a sequence ends at "
    "the first blank, and `sed '/^>/s/[;|].*//' FILE > NEW` takes annotations off",
    "rep-seqs.fasta: none of table.biom: 6 ids, such as 'ASV_1'; 6 would match if annotations such as "
    ";size=1 were removed: 'ASV_1' is 'ASV_1;size=123' there",
    needs=Need.REP_SEQS,
)
TRANSPOSED = error(
    "table-transposed",
    "the rows of a table are features, and its columns are samples",
    "transpose the table: t() in R before you write it, `qiime feature-table transpose` for an artifact, or "
    "`python -c \"import biom; t = biom.load_table('FILE').transpose(); open('table.biom', 'w').write("
    "t.to_json('transposed'))\"`; a data frame in Python has a row for each sample, so give its .T",
    "table.biom: 8 of 8 sample ids are sequences, such as TACGG...",
)
NO_FEATURES = error(
    "no-features",
    "a table has at least one feature and one sample",
    "export the table again; a strict filter often leaves an empty table",
    "table.biom: 0 features, 12 samples",
)
NO_SEQUENCE = error(
    "feature-without-sequence",
    "every feature has a sequence, as its id or in rep-seqs",
    "add the feature to rep-seqs, or remove it from the table; until then, its reads are excluded",
    "table.biom: feature OTU_17",
    effect=Effect.FEATURE,
)
NOT_A_NUCLEOTIDE = error(
    "not-a-nucleotide",
    "a sequence has at least one base, and IUPAC nucleotide codes only",
    "correct the sequence in rep-seqs; until then, the ASV is excluded; `sed '/^>/!s/[-.~*0-9]//g' FILE > "
    "NEW` takes out gaps of an alignment, stop signs and numbers of positions; proteins cannot be used",
    "rep-seqs.fasta: all 4 sequences hold '-' or '.': this is an alignment; take its gaps out; ASV 1 has '.' "
    "at base 1",
    effect=Effect.FEATURE,
)
SAME_SEQUENCE = warning(
    "same-sequence-twice",
    "every sequence has one feature id (ignoring case, with U read as T)",
    "nothing, if the ids mean the same ASV: their counts are summed, and the other ids are kept as aliases",
    "ACGT...: ids a1, a2",
)
AMBIGUITY_CODES = warning(
    "ambiguity-codes",
    "sequences consist of A, C, G and T; every ambiguity code is read as N",
    "if there are many, denoise again without ambiguous reads",
    "3 of 770 ASVs hold ambiguity codes, such as 4b5e...",
)
SEVERAL_LENGTHS = note(
    "several-lengths",
    "all sequences have the same length",
    "nothing, for merged paired-end reads; trim single-end reads to one length",
    "221 to 259 bases, most often 253",
)
BOTH_ORIENTATIONS = warning(
    "both-orientations",
    "no ASV is the reverse complement of another one that resembles the rest of the table",
    "the same organism may have two ASVs now: orient the reads before denoising, for example with "
    "`cutadapt --revcomp` or `vsearch --orient`",
    "ASV 4b5e...: 12 of 770 ASVs",
)
UNLIKE_OTHERS = warning(
    "both-orientations-unlike-others",
    "an ASV that occurs in both orientations resembles other ASVs of the table",
    "look at these sequences, for instance with BLAST: they resemble nothing else in the table in either "
    "orientation, as a sequencing control (PhiX) or off-target DNA does; remove such ASVs from the table, "
    "for example with `qiime feature-table filter-features`",
    "ASV 4b5e...: 4 of 770 ASVs",
)
PRIMER_LEFT_ON = warning(
    "primer-left-on",
    "sequences do not begin with a primer",
    "trim the primer before denoising (cutadapt): all ASVs share it, so it carries no information",
    "768 of 770 ASVs begin with 515F (GTGYCAGCMGCCGCGGTAA)",
)

SEQUENCE_TOO_LONG = error(
    "sequence-too-long",
    "a sequence has at most 10,000 bases, twice the length of a whole rRNA operon",
    "this is no amplicon: remove the feature from the table; until then, the ASV is excluded",
    "table.qza: ASV 4b5e...: 200,000 bases",
    effect=Effect.FEATURE,
)

# --- Samples ---

SAMPLE_TOO_LARGE = error(
    "sample-too-large",
    "a sample has at most 2,097,152 entries (2^21)",
    "no sample has so many ASVs: export the table again with the tool that made it; `aamprep shard` rejects "
    "the sample and continues",
    "table.biom: sample S1: 150,000,000 entries",
    effect=Effect.SAMPLE,
)
EMPTY_SAMPLE = error(
    "sample-empty",
    "every sample has at least one ASV with a positive count",
    "remove the sample from the table; `aamprep shard` rejects it and continues",
    "table.qza: sample 11884.A1",
    effect=Effect.SAMPLE,
)
BAD_COUNT = error(
    "count-not-finite",
    "counts are finite and not negative",
    "give raw counts, not log-ratios or scaled values; `aamprep shard` rejects the sample and continues",
    "table.biom: sample S1, ASV ACGT...: nan",
    effect=Effect.SAMPLE,
)
NOT_WHOLE = warning(
    "count-not-whole",
    "counts are integers",
    "give raw counts, not relative abundances, which cannot be rarefied",
    "table.biom: 120 of 4,000 counts, such as 0.25 in sample S1",
)
CANNOT_RAREFY = error(
    "cannot-rarefy",
    "a sample to be rarefied has integer counts and fewer than 10^9 reads",
    "give raw counts, or omit --rarefy-depth",
    "table.biom: sample S1: 0.25",
    needs=Need.RAREFACTION,
    effect=Effect.SAMPLE,
)
BELOW_DEPTH = error(
    "sample-below-rarefaction-depth",
    "every sample has at least as many reads as the rarefaction depth",
    "nothing, if the study can do without it. A smaller --rarefy-depth keeps it, and fewer reads of all "
    "other samples: `aamprep limits` shows both",
    "table.qza: sample L1S8: 898 of 1,000",
    needs=Need.RAREFACTION,
    effect=Effect.SAMPLE,
)
DUPLICATE_SAMPLE = error(
    "sample-in-two-tables",
    "every sample id occurs in one table only",
    "if the samples differ, prefix their ids with --prefix-samples, and give the tables different names (for "
    "a table.biom, its folder), which are the prefixes; if they are the same, leave them out of one table "
    "with `biom subset-table`",
    "sample S1: a/table.biom and b/table.biom",
    effect=Effect.SAMPLE,
)
CONTRACT = error(
    "sample-breaks-contract",
    "every sample passes the pandera schema of the shards",
    "correct the table where the value shows a problem",
    "sample S1: an id is empty",
    effect=Effect.SAMPLE,
)
DROPPED_READS = warning(
    "token-limit-drops-reads",
    "the token limit keeps at least 95 % of the reads of every sample",
    "choose a larger --token-limit, at a cost in memory and time: `aamprep limits` shows what each limit "
    "keeps. The shards record the ASVs that were dropped, and distances use them",
    "12 of 226 samples keep less, the lowest 71.3 % (sample S1)",
)
SHALLOW = warning(
    "sample-shallow",
    "a sample has at least 1,000 reads",
    "look at these samples: blanks, and samples that failed in the laboratory, have few reads; `--where` "
    "leaves out samples by their metadata, and `--rarefy-depth 1000` all with fewer reads, if others remain",
    "sample B1: 10 reads; 6 of 46 samples (13.0%) have fewer than 1,000 reads, as blanks and samples that "
    "failed in the laboratory do",
)
UNRAREFIED = warning(
    "depth-differs",
    "samples that are compared have similar depths: deeper samples show more rare ASVs, which changes "
    "unweighted UniFrac, Jaccard and richness most",
    "rarefy with --rarefy-depth; `aamprep limits` shows the samples, reads and ASVs that each depth keeps, "
    "and where the rarefaction curve bends",
    "depths of 898 to 9,820 reads; --rarefy-depth 1100 would keep 31 of 34 samples and 22.2% of the reads; "
    "1000 would keep 31 of 34 samples and 20.1% of the reads; 2000 would keep 24 of 34 samples and 31.2% of "
    "the reads",
)

# --- Tree and metadata against the table ---

NOT_IN_TREE = warning(
    "asv-not-in-tree",
    "the tree has a tip for every ASV",
    "nothing, if they are few, as after fragment insertion: the model sees these ASVs, but UniFrac does not, "
    "unless you choose another --missing-from-tree; if they are many, build the tree from the same rep-seqs",
    "tree.nwk: 129, such as ACGT...; 9,970 ASVs in both, 129 only in the table, 0 only in the tree",
    needs=Need.TREE,
)
NO_ASV_IN_TREE = error(
    "tree-of-other-asvs",
    "the tree has a tip for at least one ASV of each table",
    "give the tree that was built from the ASVs of all tables, or none (--no-tree)",
    "tree.qza: none of 770 ASVs; its tips have names such as 'OTU_1'",
    needs=Need.TREE,
    checked_by=_BOTH,
)
NO_SAMPLE_IN_METADATA = warning(
    "metadata-of-other-samples",
    "the metadata has a row for at least one sample of the table",
    "give the metadata of this table, or make the ids match; otherwise, no sample has metadata",
    "metadata.tsv: none of 952 samples; 802 would match if case were ignored: 's1' is 'S1' there",
    needs=Need.METADATA,
)
OTHER_TAXONOMY = warning(
    "taxonomy-of-other-features",
    "the taxonomy has a taxon for at least one ASV",
    "give the taxonomy that was made with this table, or make the ids match; otherwise, no ASV has a taxon",
    "taxonomy.tsv: none of 770 ASVs; its ids are such as 'OTU_1'",
    needs=Need.TAXONOMY,
)
SAMPLE_WITHOUT_METADATA = warning(
    "sample-without-metadata",
    "the metadata has a row for every sample",
    "add the rows; otherwise, the samples are kept with empty cells",
    "metadata.tsv: 150, such as 11884.A1; 802 samples in both, 150 only in the table, 0 only in the metadata",
    needs=Need.METADATA,
)
METADATA_WITHOUT_SAMPLE = note(
    "metadata-without-sample",
    "the table has a sample for every row of the metadata",
    "nothing: the rows are ignored",
    "metadata.tsv: 176, such as 2538.A1; 470 samples in both, 0 only in the table, 176 only in the metadata",
    needs=Need.METADATA,
)
REP_SEQS_WITHOUT_FEATURE = note(
    "rep-seqs-without-feature",
    "the table has a feature for every sequence of rep-seqs",
    "nothing: the sequences are ignored; a filtered table has fewer features",
    "rep-seqs.qza: 16, such as 4b5e...; 754 features in both, 0 only in the table, 16 only in rep-seqs",
    needs=Need.REP_SEQS,
)
NO_SAMPLE_IN_DISTANCES = error(
    "distances-of-other-samples",
    "the precomputed distance matrix has at least one sample of the table",
    "give the matrix of this table, or make the ids match, or give none (--no-distances)",
    "distances.qza: none of 34 samples; the table has ids such as 'L1S8', the distances such as '10317.A1'",
    needs=Need.DISTANCES,
)
SAMPLE_WITHOUT_DISTANCE = warning(
    "sample-without-distance",
    "the precomputed distance matrix has every sample",
    "compute the matrix for all samples; samples without distances form no pairs",
    "distances.qza: 12, such as 2538.A1; 458 samples in both, 12 only in the table, 0 only in the distances",
    needs=Need.DISTANCES,
)
SPLIT_BY_EMPTY = warning(
    "split-by-empty",
    "every sample has a value in the column of --split-by",
    "fill in the cells: a sample without a value is assigned to a split on its own, even if it is related "
    "to others",
    "metadata.tsv: column host_subject_id: 124 of 952 samples, such as 11884.A1",
    needs=Need.SPLIT_BY,
)
SPLIT_ID_UNKNOWN = warning(
    "split-id-unknown",
    "every id in a list of --split-ids is that of a sample",
    "spell it as in the table, or remove it from the list",
    "train.txt: 3 of 80 ids, such as s1; 3 would match if case were ignored: 'S1' is 's1' there",
    needs=Need.SPLIT_IDS,
)
SAMPLE_IN_NO_LIST = warning(
    "sample-in-no-list",
    "every sample is in a list of --split-ids",
    "add the sample to the list of a split; until then it is left out",
    "table.biom: sample S1",
    needs=Need.SPLIT_IDS,
)
NO_SAMPLE_IN_SPLIT = warning(
    "split-without-samples",
    "with --split-by or --split-ids, train, validation and test each have samples",
    "choose a column with more values, so that every split gets some, or leave --split-by out; or list "
    "samples for each split: training needs train and validation, and `aammodel evaluate` uses test",
    "column subject: 34 train, 0 validation, 0 test",
    needs=Need.SPLIT_BY,
)
ONE_VALUE = note(
    "column-with-one-value",
    "a metadata column has more than one value among the samples",
    "nothing: a model cannot learn anything from it",
    "metadata.tsv: column env_package: 'human-gut'",
    needs=Need.METADATA,
)

# --- Requested filters ---

NOT_ASKED_FOR = note(
    "sample-not-asked-for",
    "the metadata of the sample meets every --where",
    "nothing: you asked for this filter",
    "table.biom: sample S1: body-site=gut: 'tongue'",
    needs=Need.FILTER,
)
BELOW_PREVALENCE = note(
    "asv-below-prevalence",
    "the ASV occurs in at least as many samples as --min-prevalence requires",
    "nothing: you asked for this filter",
    "4,100 ASVs, such as ACGT...: below 2",
    needs=Need.FILTER,
)
BELOW_READS = note(
    "asv-below-reads",
    "the ASV has at least as many reads in total as --min-reads requires",
    "nothing: you asked for this filter",
    "4,100 ASVs, such as ACGT...: below 10",
    needs=Need.FILTER,
)
ASV_DROPPED_NOT_IN_TREE = note(
    "asv-dropped-not-in-tree",
    "with --missing-from-tree drop, the tree has a tip for every ASV",
    "nothing: you asked for this filter",
    "129 ASVs, such as ACGT...",
    needs=Need.FILTER,
)
SAMPLE_NOT_IN_TREE = error(
    "sample-not-in-tree",
    "with --missing-from-tree reject, the tree has a tip for every ASV of a sample",
    "keep such samples with --missing-from-tree keep or drop, or give a tree that has these ASVs",
    "table.biom: sample S1: 3 ASVs",
    needs=Need.FILTER,
    effect=Effect.SAMPLE,
)


def catalogue() -> dict[str, Rule]:
    """Return every rule of this module by its code."""
    return {rule.code: rule for rule in globals().values() if isinstance(rule, Rule)}
