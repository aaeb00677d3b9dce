"""Saved steps are read back unchanged, also from files with old names of fields."""

import math
import random
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from aam_schemas.common.errors import AamError
from aammodel.diagnostics.trace import trace
from aammodel.runs.checkpoint import save_model
from aammodel.runs.saved_step import SavedStep, load_step, save_step, weights_beside
from aammodel.runs.tensor_file import tensor_file
from aammodel.workflows.replay import from_batch, from_run
from tests.helpers import damage
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


@pytest.fixture
def saved(copied: Path) -> Path:
    """Save the next step of a run, with its weights beside it."""
    inputs = from_run(copied, None, None)
    path = copied / "offending-batch-step-000003.safetensors"
    save_step(SavedStep(inputs.batches, 3), path)
    model = inputs.stepper.model
    save_model(weights_beside(path), dict(model.state_dict()), asdict(model.config))
    return path


def damage_value(path: Path, numbers: random.Random) -> str:
    """Change one value of a tensor, and make the hash right again."""
    tensors, metadata = load_file(path), metadata_of(path)
    name = numbers.choice(sorted(name for name, tensor in tensors.items() if tensor.numel()))
    values = tensors[name].view(-1)
    is_float = values.is_floating_point()
    value = numbers.choice([math.nan, -math.inf, 1e38] if is_float else [0, 1, 5, 6, 100, 255])
    values[numbers.randrange(len(values))] = value
    metadata.pop("sha256")
    path.write_bytes(bytes(tensor_file(tensors, metadata)))
    return f"value of {name}: {value}"


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=20 if settings().derandomize else 2_000,
)
@given(kind=st.integers(0, 2), seed=st.integers(0, 2**32))
def test_a_damaged_step_is_refused_or_traced(saved: Path, kind: int, seed: int) -> None:
    content = saved.read_bytes()
    what = (damage.damage_bytes, damage.damage_tensors, damage_value)[kind](saved, random.Random(seed))
    note(what)
    try:
        trace(from_batch(saved, None, None))
    except AamError as error:
        refused = error
        assert refused.exit_code in (1, 2)
        assert refused.where
    else:
        assert kind, "a change without a new hash"
    finally:
        saved.write_bytes(content)
