"""Every number of a configuration has an end, and no TOML file makes more than an error with exit code 2."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aam_schemas.common.errors import UsageError
from aammodel.config.checks import InvalidConfigError
from aammodel.config.model import ModelConfig
from aammodel.config.stored import load_model_config, load_train_config
from aammodel.config.toml import MOST_BYTES, read_config
from aammodel.config.train import TrainConfig
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs

KINDS: tuple[Any, ...] = (ModelConfig, TrainConfig)
HUGE = {
    "2^130": 2**130,
    "4,000 digits": 10**4000,
    "1e300": 1e300,
    "infinity": float("inf"),
    "NaN": float("nan"),
}
NUMBERS = [
    (kind, name)
    for kind in KINDS
    for name, expected in get_type_hints(kind).items()
    if {int, float} & {expected, *get_args(expected)} and get_origin(expected) is not dict
]
ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([1])
KEYS = [field.name for kind in KINDS for field in fields(kind)]


@pytest.mark.parametrize("value", HUGE.values(), ids=HUGE)
@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", value))
def test_every_number_has_an_end(kind: Any, name: str, value: float) -> None:
    with pytest.raises(InvalidConfigError, match=name) as raised:
        kind(**({"sequence_length": 10} if kind is ModelConfig else {}) | {name: value})
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "values",
    [
        {"targets": ("jaccard", "jaccard")},
        {"targets": ("jaccard",) * 100_000},
        {"targets": ({},)},
    ],
    ids=["twice", "100,000", "no text"],
)
def test_targets_are_few_and_distinct(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfigError, match="targets"):
        ModelConfig(sequence_length=10, **values)


@pytest.mark.parametrize(
    "name", ["", "cuda:", "cuda:-1", "cuda:9999", "gpu", "mps", "cpu\n", "x" * 20_000_000]
)
def test_only_names_of_devices_are_devices(name: str) -> None:
    with pytest.raises(InvalidConfigError, match="device must be") as raised:
        TrainConfig(device=name)
    assert len(str(raised.value)) < 500


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*KEYS, "heads", "x"]), ODD, max_size=4))
def test_stored_values_make_a_configuration_or_an_error(values: dict[str, Any]) -> None:
    for load, base in ((load_model_config, {"sequence_length": 10}), (load_train_config, {})):
        try:
            load(base | values)
        except ValueError as error:
            assert len(str(error)) < 2000  # noqa: PT017 - the values may also be valid


def test_a_key_with_its_old_name_beside_it_is_refused() -> None:
    with pytest.raises(ValueError, match="heads and its new name attention_heads"):
        load_model_config({"sequence_length": 10, "heads": 4, "attention_heads": 2})


TOML = {
    "deep list": "[train]\nseed = " + "[" * 20_000,
    "deep table": "[" + ".".join("a" * 10_000) + "]",
    "deep inline": "[train]\nseed = " + "{a=" * 10_000,
    "huge integer": f"[train]\nseed = {'9' * 10_000}",
    "huge hexadecimal": f"[train]\nseed = 0x{'f' * 10_000}",
    "twice": "[train]\nseed = 1\nseed = 2",
    "table twice": "[train]\n[train]",
    "infinite": "[train]\nlearning_rate = inf",
    "NaN": "[train]\nlearning_rate = nan",
    "date": "[train]\nseed = 2026-01-01",
    "control characters": '[train]\n"\\u001b[31mseed" = 1',
    "a long key": f"[train]\n{'a' * 50_000} = 1",
    "a long value": f"[train]\noptimizer = '{'a' * 50_000}'",
    "no table": "seed = 1",
    "a list of tables": "[[train]]",
    "not UTF-8": "[train]\n#\udcff",
    "too large": "#" * (MOST_BYTES + 1),
}


@pytest.mark.parametrize("text", TOML.values(), ids=TOML)
def test_a_hostile_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError) as raised:
        TrainConfig(**read_config(path)["train"])
    assert len(str(raised.value)) < 2500


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    with pytest.raises(UsageError, match="a pipe"):
        read_config(tmp_path / "a.toml")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text() | st.text(alphabet='[]{}"=.,train\nseed 1e9_x\\').map("[train]\n{}".format))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    try:
        tables = read_config(path)
        TrainConfig(**tables["train"])
    except UsageError as error:
        assert error.where in (str(path), "[train]")  # noqa: PT017 - the text may also be valid


def test_what_does_not_fit_into_memory_is_refused_with_the_figure(run: Programs, tmp_path: Path) -> None:
    shards = make_shards(run, tmp_path).folder
    config = tiny_config(tmp_path)
    small = config.read_text()
    config.write_text(small.replace("width = 16", "width = 16384\nfeed_forward = 64\nsample_layers = 8"))
    config.write_text(config.read_text().replace("sample_layers = 1\n", ""))
    for command in (("pretrain", shards, "--output", tmp_path / "run"), ("plan", shards)):
        ran = run("aammodel", *command, "--config", config)
        assert (ran.code, "weights with 4 values each need" in ran.err) == (2, True), ran.err
    assert not (tmp_path / "run").exists()
    config.write_text(small + "num_workers = 257\n")
    ran = run("aammodel", "plan", shards, "--config", config)
    assert (ran.code, "num_workers must be at most 256" in ran.err) == (2, True), ran.err
