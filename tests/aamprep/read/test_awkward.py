"""Unusual files are read or get the right finding, with and without a child process."""

import pytest

from aamprep.read import read_metadata, read_sequences, read_table, read_tree
from aamprep.rules.findings import Findings
from tests.helpers.paths import RealData

TABLES = {
    "ambiguous-N.biom": {},
    "composition-pseudocount.qza": {"artifact-not-counts"},
    "empty-0x0.biom": {},
    "float-above-int32.biom": {},
    "float-metabolites.biom": {},
    "float-odd-sample-ids.biom": {},
    "float-percent-json.biom": {},
    "hdf5-group-metadata.biom": {},
    "hdf5-gzipped.biom.gz": {},
    "json-v1-asv-empty-sample.biom": {},
    "json-v1-gzipped.json.gz": {"biom-json-key"},
    "json-v1-leading-blanks.biom": {},
    "json-v1-q2types.biom": {},
    "json-v1-rich.biom": {},
    "lowercase-one-asv.biom": {},
    "mixed-ids.biom": {},
    "nan-values.biom": {"count-nan", "count-negative"},
    "negative-balances.qza": {"artifact-not-counts"},
    "no-bytes.biom": {"file-empty"},
    "not-a-table-rep-seqs.qza": {"artifact-type"},
    "one-sample-lowercase.biom": {},
    "one-sample-otu.biom": {},
    "otu-greengenes.biom": {},
    "prefixed-md5.biom": {},
    "relfreq-taxa.qza": {"artifact-not-counts"},
    "taxa-level6.qza": {},
    "text-not-zip.qza": {"file-kind"},
    "tree-mismatch-table.qza": {},
    "truncated-derived.qza": {"file-unreadable"},
    "tsv-bad-table.txt": {"file-text-table"},
    "otu-greengenes.tre": {"file-kind"},
    "fasta-duplicate-ids.fasta": {"file-kind"},
}
KEPT = {"biom-json-key", "count-nan", "count-negative"}
OTHERS = {
    "otu-greengenes.tre": (read_tree, set()),
    "tree-mismatch-tree.qza": (read_tree, set()),
    "unrooted-tree.qza": (read_tree, {"artifact-unrooted"}),
    "text-not-zip.qza": (read_metadata, set()),
    "tree-mismatch-metadata.tsv": (read_metadata, {"metadata-missing-words"}),
    "fasta-duplicate-ids.fasta": (read_sequences, {"fasta-id-duplicate"}),
    "not-a-table-rep-seqs.qza": (read_sequences, set()),
    "tsv-bad-table.txt": (read_metadata, set()),
}


@pytest.mark.real
@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize("name", TABLES)
def test_an_unusual_table_gets_the_expected_findings(real_data: RealData, name: str, isolate: bool) -> None:
    findings = Findings()
    table = read_table(real_data(f"awkward/{name}"), findings, isolate=isolate)
    assert {rule.code for rule in findings.counts()} == set(TABLES[name])
    assert (table is None) == bool(set(TABLES[name]) - KEPT)


@pytest.mark.real
@pytest.mark.parametrize("name", OTHERS)
def test_an_unusual_file_in_another_role_gets_the_expected_findings(real_data: RealData, name: str) -> None:
    reader, expected = OTHERS[name]
    findings = Findings()
    reader(real_data(f"awkward/{name}"), findings)
    assert {rule.code for rule in findings.counts()} == expected
