"""The preparation of a model's samples is stored with every type checked, and compared with a shard set."""

import json

import numpy as np
import pytest

from aam_schemas.manifest import Choices, Manifest
from aam_schemas.preparation import VERSION, Preparation, Region, describe_region, region_mismatches
from aam_schemas.vocabulary import encode

V4 = "TACGGAGGATGCGAGCGTTA"
OTHER = "GACGAACGCTGGCGGCGTGC"
END = "GGATTAGATACCCTGGTAGT"


def sequences(start: str, number: int, length: int = 100, end: str = "", seed: int = 0) -> list[str]:
    """Draw ASVs that begin, and may end, with given bases."""
    rng = np.random.default_rng(seed)
    inside = length - len(start) - len(end)
    return [start + "".join(rng.choice(list("ACGT"), inside)) + end for _ in range(number)]


def tokens(*asvs: str, length: int = 151) -> np.ndarray:
    return encode(asvs, length)


def manifest(**values: object) -> Manifest:
    """Return a manifest with some choices and sizes."""
    choices = {name: values.pop(name) for name in list(values) if name in Choices.__dataclass_fields__}
    sizes = {"sequence_length": 151, "num_branches": 0} | values
    return Manifest(
        choices=Choices(**{"token_limit": 512} | choices),  # type: ignore[arg-type]
        num_samples=10,
        num_asvs=20,
        num_kept_asvs=20,
        num_rejected_samples=0,
        num_rejected_asvs=0,
        files=(),
        inputs=(),
        **sizes,  # type: ignore[arg-type]
    )


def test_a_region_is_what_a_loop_over_sequences_finds() -> None:
    rng = np.random.default_rng(1)
    asvs = [
        "".join(rng.choice(list("ACGTN"), rng.integers(5, 60), p=[0.4, 0.2, 0.2, 0.1, 0.1]))
        for _ in range(50)
    ]
    found = describe_region(tokens(*asvs))
    for text, fraction, is_end in (
        (found.start, found.start_fraction, False),
        (found.end, found.end_fraction, True),
    ):
        ends = [asv[-20:].rjust(20) if is_end else asv[:20].ljust(20) for asv in asvs]
        for position, letter in enumerate(text):
            column = [end[position] for end in ends]
            assert column.count(letter) == max(column.count(base) for base in "ACGT")
        agreeing = [sum(a == b for a, b in zip(end, text, strict=True)) >= 15 for end in ends]
        assert fraction == sum(agreeing) / len(asvs)
    lengths = sorted(map(len, asvs))
    assert (found.shortest, found.longest) == (lengths[0], lengths[-1])
    assert found.median == np.median(lengths)


def test_a_conserved_start_is_recognised() -> None:
    found = describe_region(tokens(*sequences(V4, 50)))
    assert (found.start, found.start_fraction) == (V4, 1.0)
    assert found.end_fraction < 0.1, "random ends agree with nothing"
    assert region_mismatches(found, tokens(*sequences(V4, 30, seed=5))) == []


@pytest.mark.parametrize(
    ("asvs", "verb"),
    [(sequences(OTHER, 40, end=END), "begin"), (sequences(V4, 40, end=OTHER), "end")],
)
def test_another_region_is_named_with_figures(asvs: list[str], verb: str) -> None:
    region = describe_region(tokens(*sequences(V4, 50, end=END)))
    (message,) = region_mismatches(region, tokens(*asvs))
    assert message.startswith(
        f"0.0% of ASVs {verb} like {V4 if verb == 'begin' else END}; 100.0% of the model's"
    )


def test_shorter_sequences_than_the_region_can_be_compared() -> None:
    region = describe_region(tokens(*sequences(V4, 50)))
    assert region_mismatches(region, tokens("ACGTACG", length=8)) != []
    assert describe_region(tokens("A", length=2)) == Region(
        start="A", start_fraction=0.0, end="A", end_fraction=0.0, shortest=1, median=1.0, longest=1
    )


def test_it_is_the_same_after_json() -> None:
    asvs = tokens(*sequences(V4, 30))
    for preparation in (
        Preparation(),
        Preparation.from_shards(manifest(rarefy_depth=1000, min_reads=2.5, num_branches=7), asvs, 64),
    ):
        stored = json.loads(json.dumps(preparation.as_dict()))
        assert stored["version"] == VERSION
        assert Preparation.from_dict(stored | {"added_later": 1}) == preparation
    assert preparation.token_limit == 64
    assert preparation.has_tree


@pytest.mark.parametrize(
    ("name", "value"),
    [("token_limit", "512"), ("token_limit", True), ("has_tree", 1), ("region", {"start": "A"}),
     ("vocabulary", [1]), ("min_reads", float("nan"))],
)  # fmt: skip
def test_a_wrong_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError):
        Preparation.from_dict(Preparation().as_dict() | {name: value})


def test_another_version_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="version 2, and this program reads 1"):
        Preparation.from_dict(Preparation().as_dict() | {"version": 2})


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ({}, []),
        ({"sequence_length": 251}, ["ASVs have up to 250 bases; the model's had up to 150"]),
        ({"sequence_length": 101}, []),
        ({"token_limit": 64}, ["samples keep up to 64 ASVs; the model's kept up to 512"]),
        ({"token_limit": 1024}, []),
        ({"rarefy_depth": 1000}, ["samples are rarefied to 1,000 reads; the model's were not rarefied"]),
        (
            {"select": "random"},
            ["ASVs over the token limit are selected by random; the model's by abundance"],
        ),
        ({"min_reads": 2.0}, ["ASVs with at least 2 reads are kept; the model's with at least 0"]),
    ],
)
def test_differences_are_named_with_figures(shards: dict[str, object], expected: list[str]) -> None:
    model = Preparation.from_shards(manifest())
    assert model.mismatches(manifest(**shards)) == expected
    assert Preparation().mismatches(manifest(**shards)) == []
