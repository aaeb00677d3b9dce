"""Metadata in QIIME 2's format, compared with the reader of scikit-bio."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skbio.metadata import SampleMetadata

from aamprep.read import read_metadata
from aamprep.read.metadata import is_code
from aamprep.read.types import Metadata
from aamprep.rules import tables as rules
from aamprep.rules.findings import Findings
from tests.helpers.paths import RealData


def read(folder: Path, text: str) -> tuple[Metadata | None, list[tuple[str, str, str]]]:
    path = folder / "metadata.tsv"
    path.write_bytes(text.encode())
    findings = Findings()
    metadata = read_metadata(path, findings, isolate=False)
    found = [(f.rule.code, f.where.removeprefix(str(path)), f.value) for f in findings.found]
    return metadata, found


@pytest.mark.parametrize(
    "header",
    [
        *(
            "id",
            "ID",
            "SampleID",
            "sampleid",
            "sample id",
            "Sample-ID",
            "featureid",
            "feature id",
            "feature-id",
        ),
        *("#SampleID", "#Sample ID", "#OTUID", "#OTU ID", "sample_name"),
    ],
)
def test_every_id_header_of_qiime_2_is_recognized(tmp_path: Path, header: str) -> None:
    metadata, found = read(tmp_path, f"{header}\tage\nS1\t4\n")
    assert found == []
    assert metadata.ids == ("S1",)
    assert metadata.columns == {"age": ("4",)}
    assert metadata.types == {"age": "numeric"}


@pytest.mark.parametrize("header", ["Run", "", "sample_id", "#sampleid", "SAMPLE_NAME"])
def test_another_id_header_is_a_warning(tmp_path: Path, header: str) -> None:
    metadata, found = read(tmp_path, f"{header}\tage\nS1\t4\n")
    assert found == [(rules.METADATA_ID_HEADER.code, ", line 1", repr(header))]
    assert metadata.ids == ("S1",)


def test_blanks_comments_quotes_line_ends_and_byte_order_mark_are_handled(tmp_path: Path) -> None:
    text = (
        "\ufeff# exported\r\n\r\n sample-id \t age\tnote\t\t\r\n#q2:types\tnumeric\tcategorical\r\n"
        '# S0\t1\t2\r\n S1 \t 4 \t"a ""b""\tc"\r\n\t\t\r\nS2\r\nS3\t\t7\t\t\r\n'
    )
    metadata, found = read(tmp_path, text)
    assert found == []
    assert metadata.ids == ("S1", "S2", "S3")
    assert metadata.columns == {"age": ("4", None, None), "note": ('a "b"\tc', None, "7")}
    assert metadata.types == {"age": "numeric", "note": "categorical"}


def test_ids_stay_text(tmp_path: Path) -> None:
    ids = ["2538.1001130", "15e38", "250e8", "03497", "1.0", "TRUE", "NA"]
    metadata, found = read(tmp_path, "id\tx\n" + "".join(f"{name}\t1\n" for name in ids))
    assert found == []
    assert metadata.ids == tuple(ids)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2.5", "1e3", ""], "numeric"),
        (["1", "x"], "categorical"),
        (["1", "nan"], "categorical"),
        (["1", "inf"], "categorical"),
        (["1", "1_000"], "categorical"),
        (["1", "61,373"], "categorical"),
        (["", ""], "numeric"),
        (["1e999", "1"], "categorical"),
        (["02139", "12345"], "categorical"),
        (["9007199254740993", "1"], "categorical"),
        (["9007199254740992", "1e20", "0.25", "0", "-0.0"], "numeric"),
    ],
)
def test_a_column_of_finite_numbers_is_numeric(tmp_path: Path, cells: list[str], kind: str) -> None:
    rows = "".join(f"S{number}\t{cell}\n" for number, cell in enumerate(cells))
    metadata, _ = read(tmp_path, f"id\tx\n{rows}")
    assert metadata.types == {"x": kind}


def test_declared_types_and_missing_values_are_applied(tmp_path: Path) -> None:
    text = (
        "id\ta\tb\tc\n#q2:types\tCategorical\tnumeric\n#q2:missing\t\tINSDC:missing\tno-missing\n"
        "S1\t1\t2\tx\nS2\t2\tnot collected\ty\n"
    )
    metadata, found = read(tmp_path, text)
    assert found == []
    assert metadata.types == {"a": "categorical", "b": "numeric", "c": "categorical"}
    assert metadata.columns["b"] == ("2", None)


def test_all_errors_are_found_at_once_with_line_and_column(tmp_path: Path) -> None:
    text = (
        "id\tage\tage\tid\t\tsex\n#q2:types\tnumeric\tnumeric\tcategorical\t\tnumber\n#q2:units\tyears\n"
        "S1\t4\t\t\t\tf\n\t5\nS1\t6\nS2\told\t\t\t\t\textra\nid\t7\n#q2:missing\tblank\n"
    )
    metadata, found = read(tmp_path, text)
    assert metadata is None
    assert set(found) == {
        (rules.METADATA_COLUMN_DUPLICATE.code, ", line 1, column 3", "'age', first in column 2"),
        (rules.METADATA_COLUMN_RESERVED.code, ", line 1, column 4", "'id'"),
        (rules.METADATA_COLUMN_EMPTY.code, ", line 1, column 5", ""),
        (rules.METADATA_DIRECTIVE.code, ", line 2, column 'sex'", "'number'"),
        (rules.METADATA_DIRECTIVE.code, ", line 3", "'#q2:units' is not a directive"),
        (rules.METADATA_ID_EMPTY.code, ", line 5", ""),
        (rules.METADATA_ID_DUPLICATE.code, ", line 6", "'S1', first in line 4"),
        (rules.METADATA_ROW_LENGTH.code, ", line 7", "7 cells, but 6 columns"),
        (rules.METADATA_ID_RESERVED.code, ", line 8", "'id'"),
        (rules.METADATA_DIRECTIVE.code, ", line 9", "#q2:missing comes after the first sample"),
        (rules.METADATA_NUMBER.code, ", line 7, column 'age'", "'old'"),
    }


R_FILES = {
    "plain": "age\tsex\nS1\t30\tf\nS2\t31\tm\n",
    "quoted": '"age"\t"sex"\n"S1"\t30\t"f"\n"S2"\t31\t"m"\n',
    "an empty cell": "age\tsex\nS1\t30\t\nS2\t31\tm\n",
    "one column": "age\nS1\t30\nS2\t31\n",
    "row names beside ids": "sample-id\tage\n1\tS1\t30\n2\tS2\t31\n",
}
"""Files of R's write.table, which leaves out the header of the row names."""


@pytest.mark.parametrize("name", R_FILES)
def test_a_header_that_is_one_cell_short_is_refused_with_its_cause(tmp_path: Path, name: str) -> None:
    width = len(R_FILES[name].split("\n")[0].split("\t"))
    metadata, found = read(tmp_path, R_FILES[name])
    assert metadata is None
    value = f"{width} cells, but every row has {width + 1}"
    assert found == [(rules.METADATA_HEADER_SHORT.code, ", line 1", value)]


@pytest.mark.parametrize(
    "text",
    [
        "\tage\tsex\nS1\t30\tf\nS2\t31\tm\n",  # col.names=NA
        '""\t"age"\t"sex"\n"S1"\t30\t"f"\n"S2"\t31\t"m"\n',  # col.names=NA and quotes
        "sample-id\tage\tsex\nS1\t30\tf\nS2\t31\tm\n",  # row.names=FALSE
        "sample-id\tage\tsex\nS1\t30\tf\t\nS2\t31\tm\t\n",  # tabs at the end of rows
    ],
)
def test_what_the_fix_for_a_short_header_says_gives_a_file_that_is_read(tmp_path: Path, text: str) -> None:
    metadata, found = read(tmp_path, text)
    assert {code for code, _, _ in found} <= {rules.METADATA_ID_HEADER.code}
    assert metadata.ids == ("S1", "S2")
    assert metadata.columns == {"age": ("30", "31"), "sex": ("f", "m")}


def test_a_word_in_a_column_declared_numeric_is_left_out(tmp_path: Path) -> None:
    metadata, found = read(tmp_path, "id\tage\n#q2:types\tnumeric\nS1\told\nS2\t4\n")
    assert found == [(rules.METADATA_NUMBER.code, ", line 3, column 'age'", "'old'")]
    assert (metadata.types, metadata.columns) == ({"age": "numeric"}, {"age": (None, "4")})


def test_an_empty_cell_in_a_no_missing_column_is_found(tmp_path: Path) -> None:
    _, found = read(tmp_path, "id\tage\n#q2:missing\tno-missing\nS1\t\nS2\t4\n")
    assert found == [(rules.METADATA_NOT_MISSING.code, ", line 3, column 'age'", "")]


def test_words_that_keep_a_column_from_being_numeric_are_noted(tmp_path: Path) -> None:
    metadata, found = read(tmp_path, "id\tage\nS1\tMissing: Not provided\nS2\t4\nS3\tn/a\n")
    assert metadata.types == {"age": "categorical"}
    assert [code for code, _, _ in found] == [rules.METADATA_WORDS.code]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("id,age\nS1,4\n", rules.METADATA_SEPARATOR.code),
        ('id\tage\nS1\t"4\n', rules.METADATA_FORMAT.code),
        ("id\tage\n", rules.METADATA_EMPTY.code),
        ("# only\n# comments\n", rules.METADATA_EMPTY.code),
        ("\n\n", rules.FILE_EMPTY.code),
        (">a\nACGT\n", rules.FILE_KIND.code),
    ],
)
def test_a_file_that_is_not_metadata_is_refused(tmp_path: Path, text: str, code: str) -> None:
    metadata, found = read(tmp_path, text)
    assert metadata is None
    assert [finding[0] for finding in found] == [code]


@pytest.mark.parametrize("title", ["Survey of 2019\n", "Survey\tof 2019\n\nversion 2\n"])
def test_lines_above_the_header_are_named_and_can_be_comments(tmp_path: Path, title: str) -> None:
    rows = "sample-id\tage\tsite\na\t1\tgut\n"
    metadata, found = read(tmp_path, title + rows)
    line = title.count("\n") + 1
    words = repr(title.split("\n")[0].split("\t")[0])
    value = f"'sample-id', below {words} in line 1"
    assert (metadata, found) == (None, [(rules.METADATA_HEADER_LATE.code, f", line {line}", value)])
    comments = "".join(f"#{line}\n" if line else "\n" for line in title.splitlines())
    metadata, found = read(tmp_path, comments + rows)
    assert (metadata.columns, found) == ({"age": ("1",), "site": ("gut",)}, [])


cells = st.text(st.sampled_from("ab1 .-e0\u00e9'\"#"), max_size=5)
ids = st.lists(
    st.text(st.sampled_from("ab1.-e0_"), min_size=1, max_size=5), min_size=1, max_size=6, unique=True
)


@settings(deadline=None)
@given(ids, st.data())
def test_any_table_is_read_as_by_scikit_bio(
    tmp_path_factory: pytest.TempPathFactory, sample_ids: list[str], data: st.DataObject
) -> None:
    rows = [[name, *(data.draw(cells) for _ in "xyz")] for name in sample_ids]
    quoted = ["\t".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    text = "\n".join(["sample-id\tx\ty\tz", *quoted]) + "\n"
    metadata, found = read(tmp_path_factory.getbasetemp(), text)
    expected = SampleMetadata.load(io.StringIO(text))
    noted = {rules.METADATA_WORDS.code, rules.METADATA_CODES.code}
    assert {code for code, _, _ in found} <= noted
    assert metadata.ids == expected.ids
    # Numbers with leading zeros stay text. scikit-bio reads them as numbers.
    codes = {name for name, cells in metadata.columns.items() if any(is_code(cell or "") for cell in cells)}
    theirs = {name: column.type for name, column in expected.columns.items()}
    assert {name: kind for name, kind in metadata.types.items() if name not in codes} == {
        name: kind for name, kind in theirs.items() if name not in codes
    }
    assert all(metadata.types[name] == "categorical" for name in codes)
    for name, column in metadata.columns.items():
        series = expected.get_column(name).to_series()
        assert [cell is None for cell in column] == series.isna().tolist()
        if expected.columns[name].type == "numeric":
            assert [float(cell) for cell in column if cell is not None] == series.dropna().tolist()
        else:
            assert [cell for cell in column if cell is not None] == series.dropna().tolist()


def test_codes_are_noted_and_stay_text(tmp_path: Path) -> None:
    metadata, found = read(tmp_path, "id\tzip\tn\nS1\t02139\t1\nS2\t2139\t2\nS3\t\t\n")
    assert metadata.columns["zip"] == ("02139", "2139", None)
    assert metadata.types == {"zip": "categorical", "n": "numeric"}
    assert found == [(rules.METADATA_CODES.code, ", column 'zip'", "1 cells, such as 02139")]
    metadata, found = read(tmp_path, "id\tzip\n#q2:types\tnumeric\nS1\t02139\n")
    assert (metadata.types, found) == ({"zip": "numeric"}, [])


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "num_rows", "num_columns"),
    [
        ("moving-pictures", 34, 8),
        ("lifestyle9", 9, 4),
        ("crc-udca2", 802, 16),
        ("ibd-2538", 646, 127),
        ("exmp", 618, None),
        ("oral-age", 2537, 2),
        ("homes-10333", 226, 74),
        ("mackerel-11721", 639, 114),
        ("cfs", 88, 58),
        ("saliva32", 32, 41),
        ("anemia-11402", 190, 17),
    ],
)
def test_published_metadata_is_read(
    real_data: RealData, name: str, num_rows: int, num_columns: int | None
) -> None:
    findings = Findings()
    metadata = read_metadata(real_data(f"{name}/metadata.tsv"), findings)
    assert findings.valid
    assert len(metadata.ids) == num_rows
    assert num_columns is None or len(metadata.columns) == num_columns


@pytest.mark.parametrize("word", ["not provided", "missing", "NA", "nan", "Missing: Not provided", "unknown"])
def test_the_fix_of_words_for_missing_numbers_makes_a_column_numeric(tmp_path: Path, word: str) -> None:
    text = "sample-id\tage{directive}\nS1\t31\nS2\t{cell}\n"
    metadata, found = read(tmp_path, text.format(directive="", cell=word))
    assert metadata is not None
    assert (metadata.types["age"], [code for code, _, _ in found]) == (
        "categorical",
        [rules.METADATA_WORDS.code],
    )
    emptied, found = read(tmp_path, text.format(directive="", cell=""))
    assert emptied is not None
    assert (emptied.types["age"], found) == ("numeric", [])
    may_stay = f"'{word}'" in rules.METADATA_WORDS.fix
    declared, _ = read(tmp_path, text.format(directive="\n#q2:missing\tINSDC:missing", cell=word))
    assert declared is not None
    assert (declared.types["age"] == "numeric") == may_stay
