"""Saved steps are read back unchanged, also from files with old names of fields."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from aammodel.runs.saved_step import SavedStep, load_step, save_step
from tests.helpers.model_cases import compact, some_samples
from tests.helpers.old_keys import metadata_of


def test_a_file_with_an_old_field_name_is_read(tmp_path: Path) -> None:
    batch = compact(some_samples(1, 3))
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    save_step(SavedStep([batch], step=7), new)
    header = metadata_of(new)
    del header["sha256"]
    tensors = load_file(new)
    tensors["0.is_read"] = tensors.pop("0.is_encoded")
    save_file(tensors, old, metadata=header)
    loaded = load_step(old)
    assert loaded.step == 7
    for name, tensor in load_step(new).batches[0].tensors().items():
        assert torch.equal(loaded.batches[0].tensors()[name], tensor)
