"""Old keys: they are read in run folders and model files, and refused in TOML files."""

import json
from pathlib import Path

import pytest

from aam_schemas.common.errors import UsageError
from aammodel.config.stored import RENAMED_KEYS, load_model_config, load_train_config
from aammodel.config.toml import read_config
from aammodel.runs.config_file import read_config_of


def test_old_keys_are_read_under_their_new_names() -> None:
    train = load_train_config({"read_share": 0.7, "rarefy_share": 0.4})
    assert (train.asv_encode_fraction, train.rarefy_fraction) == (0.7, 0.4)
    old = {"sequence_length": 9, "heads": 8, "head": "euclidean", "head_layers": 1, "windows": True}
    model = load_model_config(old)
    assert (model.attention_heads, model.distance_head, model.distance_head_layers) == (8, "euclidean", 1)
    assert model.kmers


def test_a_model_older_than_kmers_has_none() -> None:
    assert not load_model_config({"sequence_length": 9}).kmers


def test_changes_of_an_earlier_version_are_read_under_their_new_names(tmp_path: Path) -> None:
    changes = [{"until_step": 3, "was": {"read_share": 0.2, "batch_size": 4}}]
    shards = {"folder": "shards", "manifest_sha256": "0"}
    config = {"model": {}, "train": {}, "shards": shards, "versions": {}, "changes": changes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    was = read_config_of(tmp_path)["changes"][0]["was"]
    assert was == {"asv_encode_fraction": 0.2, "batch_size": 4}


@pytest.mark.parametrize(
    ("table", "old"), [(table, old) for table in RENAMED_KEYS for old in RENAMED_KEYS[table]]
)
def test_an_old_key_in_a_toml_file_is_refused_with_the_new_one(table: str, old: str, tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(f"[{table}]\n{old} = 1\n")
    with pytest.raises(UsageError, match=old) as raised:
        read_config(path)
    assert raised.value.fix == f"write {RENAMED_KEYS[table][old]}"


@pytest.mark.parametrize(("table", "key"), [("train", "learning_rat"), ("model", "widht")])
def test_an_unknown_key_in_a_toml_file_is_refused(table: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"[{table}]\n{key} = 1\n")
    with pytest.raises(UsageError, match=key):
        read_config(path)
