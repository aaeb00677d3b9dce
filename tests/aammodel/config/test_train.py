"""The training configuration: small classes, one name for each value."""

import math
from collections import Counter
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from aammodel.config.checks import InvalidConfigError
from aammodel.config.train import OptimizerConfig, TrainConfig

INVALID: list[dict[str, Any]] = [
    {"max_steps": 0},
    {"epochs": 0},
    {"patience": 0},
    {"seed": 2**64},
    {"batch_size": 0},
    {"batch_size": 2.5},
    {"batch_size": True},
    {"accumulate": 0},
    {"bucket": 1},
    {"token_limit": 0},
    {"rarefy_fraction": 0.0},
    {"rarefy_fraction": 1.1},
    {"num_workers": -1},
    {"optimizer": "adagrad"},
    {"learning_rate": 0.0},
    {"learning_rate": "0.1"},
    {"learning_rate": math.inf},
    {"learning_rate": math.nan},
    {"momentum": 1.0},
    {"weight_decay": -0.1},
    {"clip_norm": 0.0},
    {"schedule": "linear"},
    {"cycle_steps": 0},
    {"plateau_patience": 0},
    {"plateau_factor": 1.0},
    {"mask_fraction": 0.0},
    {"mask_fraction": 1.0},
    {"mask_span": 0},
    {"asv_encode_fraction": 0.0},
    {"nucleotide_weight": -1.0},
    {"distance_weight": math.inf},
    {"targets": {"unifrac": 1.0}},
    {"targets": {"jaccard": 0.0}},
    {"targets": {"jaccard": "1"}},
    {"targets": ["jaccard"]},
    {"validate_every": 0},
    {"validation_samples": 0},
    {"checkpoint_every": 0},
    {"keep_checkpoints": 0},
    {"precision": "fp32"},
    {"sharding": "ddp"},
    {"precision": "fp16", "sharding": "fsdp"},
    {"rarefy_fraction": 0.5, "targets": {"precomputed": 1.0}},
]


@pytest.mark.parametrize("values", INVALID, ids=str)
def test_an_invalid_value_is_refused_by_its_key(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfigError) as raised:
        TrainConfig(**values)
    assert raised.value.what.startswith(next(iter(values)).removesuffix("s"))
    assert raised.value.where == "[train]"
    assert raised.value.fix


def test_a_part_checks_its_values_by_itself() -> None:
    assert OptimizerConfig(learning_rate=0.1).learning_rate == 0.1
    with pytest.raises(InvalidConfigError, match="learning_rate"):
        OptimizerConfig(learning_rate=-0.1)


def test_no_key_belongs_to_two_parts() -> None:
    parts = TrainConfig.__bases__
    counts = Counter(key for part in parts for key in vars(part).get("__annotations__", {}))
    assert set(counts.values()) == {1}
    assert counts.keys() == {field.name for field in fields(TrainConfig)}
    assert all(3 <= len(fields(part)) <= 8 for part in parts)


def test_a_configuration_is_flat_and_one_key_is_easily_replaced() -> None:
    config = TrainConfig(learning_rate=0.1, batch_size=4)
    assert TrainConfig(**asdict(config)) == config
    assert replace(config, batch_size=8) == TrainConfig(learning_rate=0.1, batch_size=8)
    with pytest.raises(InvalidConfigError, match="batch_size"):
        replace(config, batch_size=0)
