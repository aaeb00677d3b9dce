"""Files compressed by gzip, bzip2 and xz are read as their content, within the same limits."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aamprep.read import read_metadata, read_sequences, read_table, read_tree
from aamprep.read.source import Limits
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.biom_files import COUNTS, as_json, dense, write_hdf5, write_json

Pack = Callable[[bytes], bytes]
PACKS = pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])


@PACKS
def test_every_role_is_read_from_a_compressed_file(tmp_path: Path, pack: Pack) -> None:
    path, findings = tmp_path / "file", Findings()
    for table in (write_hdf5(tmp_path / "a.biom"), write_json(tmp_path / "b.biom", as_json())):
        path.write_bytes(pack(table.read_bytes()))
        np.testing.assert_array_equal(dense(read_table(path, findings)), COUNTS)
    # Two members, as `cat` joins them.
    path.write_bytes(pack(b">a\nAC\n") + pack(b">b\nGT\n"))
    assert read_sequences(path, findings).by_id == {"a": "AC", "b": "GT"}
    path.write_bytes(pack(b"(a:1,b:2);"))
    assert read_tree(path, findings).names == ("", "a", "b")
    path.write_bytes(pack(b"id\tx\na\t1\n"))
    assert read_metadata(path, findings).ids == ("a",)
    assert not findings


@PACKS
def test_a_compressed_file_that_is_cut_short_is_named_so(tmp_path: Path, pack: Pack) -> None:
    path, findings = tmp_path / "file", Findings()
    text = "".join(f">s{n}\n{n:060b}\n" for n in range(30000)).replace("0", "A").replace("1", "C")
    path.write_bytes(pack(text.encode())[:-40])
    assert read_sequences(path, findings) is None
    assert findings.counts() == {rules.FILE_UNREADABLE: 1}


@PACKS
def test_a_compressed_file_is_unpacked_up_to_the_budget(tmp_path: Path, pack: Pack) -> None:
    path, findings = tmp_path / "file", Findings()
    path.write_bytes(pack(b">a\n" + b"A" * (8 << 20)))
    limits = Limits(declared_bytes=4 << 20)
    assert read_sequences(path, findings, limits=limits) is None
    assert findings.counts() == {rules.FILE_TOO_LARGE: 1}
    findings, limits = Findings(), Limits(ratio_above=1 << 20)
    assert read_sequences(path, findings, limits=limits) is None
    assert findings.counts() == {rules.FILE_RATIO: 1}
