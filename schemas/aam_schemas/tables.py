"""Pandera schemas on polars for ASVs, samples and metadata.

These schemas are the contract. Every batch of samples is validated against them before it is written.

- They run on eager frames, because pandera checks only the types of a LazyFrame.
- A frame has one row per sample, with lists inside, because pandera slows down steeply with the number of
  columns.
- The training code never imports this module. Importing polars and pandera takes seconds, and polars can
  deadlock in forked data loader workers.
"""

from collections.abc import Callable

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaErrors

from aam_schemas.vocabulary import MASK, PAD, SIZE, START

Rule = Callable[[pl.Expr], pl.Expr]


def _check(rule: Rule, name: str, error: str) -> pa.Check:
    """Return a named pandera check that evaluates one polars expression. Null counts as a failure."""

    def check(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(rule(pl.col(data.key)).fill_null(value=False))

    return pa.Check(check, name=name, error=error)


def violations(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> pl.DataFrame:
    """Validate a frame against a schema and return its violations.

    Parameters
    ----------
    schema : pandera.polars.DataFrameSchema
        One of the schemas of this module.
    frame : polars.DataFrame
        The rows to check.

    Returns
    -------
    polars.DataFrame
        pandera's failure cases, one row per failure, with the columns `check`, `column`, `failure_case` and
        `index`. `index` is the row of the frame, or null if the failure concerns a whole column. The result
        is empty if the frame is valid.
    """
    # Names and types are checked first: polars raises its own error if a rule meets a column of another type.
    for depth in (ValidationDepth.SCHEMA_ONLY, ValidationDepth.SCHEMA_AND_DATA):
        try:
            with config_context(validation_depth=depth):
                schema.validate(frame, lazy=True)
        except SchemaErrors as errors:
            return errors.failure_cases
    return pl.DataFrame(
        schema={"check": pl.String, "column": pl.String, "failure_case": pl.String, "index": pl.Int32}
    )


def _every(rule: Rule) -> Rule:
    """Return a rule for list columns: every element satisfies `rule`. Null elements do not."""
    return lambda column: column.list.eval(rule(pl.element()).fill_null(value=False)).list.all()


def _frame_check(rule: pl.Expr, name: str, error: str) -> pa.Check:
    """Return a named pandera check that compares columns of the same row. Null counts as a failure."""

    def check(data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(rule.fill_null(value=False))

    return pa.Check(check, name=name, error=error)


def _equal(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Compare two sums with a tolerance, since the last digits depend on the order of the terms."""
    return (left - right).abs() <= 1e-9 * right.abs()


def _is_count(count: pl.Expr) -> pl.Expr:
    return count.is_finite() & (count >= 0)


ID_GIVEN = _check(lambda c: c.str.strip_chars().str.len_bytes() > 0, "id_given", "an id is empty")
COUNTS_FINITE = _check(_every(_is_count), "counts_finite", "a count is negative, NaN or infinite")
HAS_READS = _check(
    lambda c: c.list.eval(pl.element() > 0).list.any(),
    "has_reads",
    "no ASV of the sample has a count above 0",
)
READS_GIVEN = _check(
    lambda c: c.is_finite() & (c > 0), "reads_given", "a number of reads is not positive and finite"
)
NO_ASV_TWICE = _check(lambda c: c.list.n_unique() == c.list.len(), "no_asv_twice", "an ASV is listed twice")
STARTS_WITH_START = _check(
    lambda c: c.list.get(0) == START, "starts_with_start", "an ASV does not begin with the START token"
)
HAS_A_BASE = _check(lambda c: c.list.get(1) != PAD, "has_a_base", "an ASV has no base after START")
KNOWN_TOKENS = _check(
    lambda c: (
        c.list.slice(1)
        .list.eval((pl.element() != START) & (pl.element() < pl.lit(SIZE)) & (pl.element() != MASK))
        .list.all()
    ),
    "known_tokens",
    "an ASV contains a token other than a base (MASK is reserved for training, START occurs once)",
)
NO_PAD_BETWEEN_BASES = _check(
    # In a valid ASV, only PAD follows PAD. The last token has no successor, hence the fill of null.
    lambda c: (
        c.list.eval((pl.element() == PAD) & (pl.element().shift(-1) != PAD).fill_null(value=False))
        .list.any()
        .not_()
    ),
    "no_pad_between_bases",
    "there is padding between bases",
)


def asv_table(sequence_length: int) -> pa.DataFrameSchema:
    """Return the schema of `asvs.parquet`.

    Parameters
    ----------
    sequence_length : int
        Tokens per ASV, L: START and the bases of the longest ASV.
    """
    return pa.DataFrameSchema(
        {
            "asv_id": pa.Column(pl.String, ID_GIVEN, unique=True),
            "aliases": pa.Column(pl.List(pl.String)),
            "sequence": pa.Column(pl.String, pa.Check.str_matches(r"^[ACGTRYSWKMBDHVN]+$"), unique=True),
            "tokens": pa.Column(
                pl.List(pl.UInt8),
                [
                    _check(
                        lambda c: c.list.len() == sequence_length,
                        "token_length",
                        f"not {sequence_length} tokens",
                    ),
                    STARTS_WITH_START,
                    HAS_A_BASE,
                    KNOWN_TOKENS,
                    NO_PAD_BETWEEN_BASES,
                ],
            ),
            "prevalence": pa.Column(pl.UInt32, pa.Check.ge(1)),
            "total_count": pa.Column(pl.Float64, READS_GIVEN),
        },
        strict=False,
        name="asvs",
    )


def sample_table(token_limit: int, num_asvs: int, num_branches: int = 0) -> pa.DataFrameSchema:
    """Return the schema of a sample file, after truncation to the token limit.

    Parameters
    ----------
    token_limit : int
        Largest number of ASVs kept per sample.
    num_asvs : int
        Number of rows of the ASV table. Every ASV index must be below it.
    num_branches : int
        Number of rows of the tree table, or 0 without a tree.
    """
    exists = _check(
        _every(lambda asv: asv < num_asvs), "asv_exists", "an ASV index is beyond the end of the ASV table"
    )
    within_limit = _check(
        lambda c: c.list.len() <= token_limit, "within_token_limit", f"more than {token_limit} ASVs are kept"
    )
    return pa.DataFrameSchema(
        {
            "sample_id": pa.Column(pl.String, ID_GIVEN, unique=True),
            "study": pa.Column(pl.String),
            "asv": pa.Column(pl.List(pl.UInt32), [within_limit, exists, NO_ASV_TWICE]),
            "count": pa.Column(pl.List(pl.Float64), [HAS_READS, COUNTS_FINITE]),
            "dropped_asv": pa.Column(pl.List(pl.UInt32), [exists, NO_ASV_TWICE]),
            "dropped_count": pa.Column(pl.List(pl.Float64), COUNTS_FINITE),
            "depth": pa.Column(pl.Float64, READS_GIVEN),
            "depth_before_rarefaction": pa.Column(pl.Float64, READS_GIVEN),
            "depth_kept": pa.Column(pl.Float64, READS_GIVEN),
            "num_asvs": pa.Column(pl.UInt32, pa.Check.ge(1)),
            "num_asvs_kept": pa.Column(pl.UInt32, pa.Check.ge(1)),
        }
        | (_branch_columns(num_branches) if num_branches else {}),
        checks=[
            _frame_check(
                (pl.col("asv").list.len() == pl.col("count").list.len())
                & (pl.col("dropped_asv").list.len() == pl.col("dropped_count").list.len()),
                "lists_match",
                "the number of counts differs from the number of ASVs",
            ),
            _frame_check(
                (pl.col("num_asvs_kept") == pl.col("asv").list.len())
                & (pl.col("num_asvs") == pl.col("asv").list.len() + pl.col("dropped_asv").list.len()),
                "totals_match",
                "num_asvs or num_asvs_kept differs from the length of the lists",
            ),
            _frame_check(
                _equal(pl.col("depth_kept"), pl.col("count").list.sum())
                & _equal(pl.col("depth"), pl.col("depth_kept") + pl.col("dropped_count").list.sum()),
                "depths_match",
                "depth or depth_kept differs from the sum of the counts",
            ),
        ],
        strict=False,
        name="samples",
    )


def _branch_columns(num_branches: int) -> dict[str, pa.Column]:
    exists = _check(
        _every(lambda branch: branch < num_branches),
        "branch_exists",
        "a branch index is beyond the end of the tree table",
    )
    reads = _check(
        lambda c: c.is_finite() & (c >= 0), "depth_finite", "the depth in the tree is negative or non-finite"
    )
    return {
        "branch": pa.Column(pl.List(pl.UInt32), exists),
        "branch_count": pa.Column(pl.List(pl.Float64), COUNTS_FINITE),
        "depth_in_tree": pa.Column(pl.Float64, reads),
    }


_KINDS = {"numeric": pl.Float64, "categorical": pl.String}

_METADATA_COLUMNS = pa.DataFrameSchema(
    {
        "column": pa.Column(pl.String, unique=True),
        "type": pa.Column(pl.String, nullable=True),
        "needed": pa.Column(pl.String, nullable=True),
    },
    checks=_frame_check(
        pl.col("type") == pl.col("needed"), "column_type", "a column is missing, unknown or of another type"
    ),
    name="columns of the metadata",
)
_METADATA_IDS = pa.DataFrameSchema(
    {"sample_id": pa.Column(pl.String, ID_GIVEN, unique=True)}, name="ids of the metadata"
)
_METADATA_NUMBERS = pa.DataFrameSchema(
    {
        "value": pa.Column(
            pl.Float64,
            _check(
                lambda c: c.is_null() | c.is_finite(),
                "finite",
                "a value is NaN or infinite; leave the cell empty if it is missing",
            ),
            nullable=True,
        )
    },
    name="numbers of the metadata",
)
_CELLS_AT_ONCE = 1 << 20
"""Number of numeric cells that are validated together."""


def metadata_violations(types: dict[str, str], frame: pl.DataFrame) -> pl.DataFrame:
    """Validate the rows of `metadata.parquet`, and return the violations.

    The names of columns come from a file, and polars takes some names for patterns (`*`, `^.*$`). So pandera
    meets no name: the columns are described by rows, and the cells of numeric columns are validated one below
    the other. The cost is linear, too: with a schema of n columns, pandera takes n squared steps.

    Parameters
    ----------
    types : dict of str to str
        "numeric" or "categorical" for each column except `sample_id`.
    frame : polars.DataFrame
        The rows to check.

    Returns
    -------
    polars.DataFrame
        One row per failure, as `violations` returns them. If a column is missing, unknown or of another type,
        cells are not checked.
    """
    needed = {"sample_id": pl.String} | {name: _KINDS[kind] for name, kind in types.items()}
    given = dict(zip(frame.columns, frame.dtypes, strict=True))
    names = list(needed | given)
    columns = {
        "column": names,
        "type": [str(given[name]) if name in given else None for name in names],
        "needed": [str(needed[name]) if name in needed else None for name in names],
    }
    wrong = violations(_METADATA_COLUMNS, pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)))
    if len(wrong):
        name_of_row = pl.Series(names, dtype=pl.String)
        return wrong.select(
            "check", "failure_case", column=name_of_row.gather(wrong["index"]), index=pl.lit(None, pl.Int32)
        )
    series = dict(zip(frame.columns, frame.iter_columns(), strict=True))
    found = [violations(_METADATA_IDS, series["sample_id"].to_frame())]
    numeric = [name for name, kind in types.items() if kind == "numeric"]
    at_once = max(1, _CELLS_AT_ONCE // max(len(frame), 1))
    for start in range(0, len(numeric), at_once):
        part = numeric[start : start + at_once]
        found.append(_number_violations(part, [series[name] for name in part]))
    shape = ("check", "column", "failure_case", "index")
    return pl.concat([failures.select(shape).cast({"failure_case": pl.String}) for failures in found])


def _number_violations(names: list[str], columns: list[pl.Series]) -> pl.DataFrame:
    """Validate numeric columns of equal length together."""
    cells = pl.concat([column.alias("value") for column in columns])
    failures = violations(_METADATA_NUMBERS, cells.to_frame())
    size = len(columns[0])
    if not len(failures):
        return failures
    return failures.with_columns(
        column=pl.Series(names, dtype=pl.String).gather(failures["index"] // size),
        index=failures["index"] % size,
    )
