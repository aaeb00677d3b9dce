"""A damaged run folder is refused with exit code 1 or 2, by the name of its file, or gives the same model."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from aam_schemas.common.errors import AamError
from aammodel.reports.compare import compare
from aammodel.runs.checkpoint import load_checkpoint, optimizer_tensors
from aammodel.runs.config_file import read_results
from aammodel.runs.load import load_preparation, load_run, token_limit_of_training
from aammodel.training.setup import make_stepper
from aammodel.workflows.replay import from_run
from aammodel.workflows.resume import read_plan
from tests.helpers import damage

CHECKPOINT = "checkpoints/step-000003"
JSON = ("config.json", "metrics.jsonl", "results.json", f"{CHECKPOINT}/state.json")
TENSORS = ("model.safetensors", f"{CHECKPOINT}/model.safetensors", f"{CHECKPOINT}/optimizer.safetensors")
DAMAGES: dict[str, tuple[str, Callable[[Path, random.Random], str]]] = {
    f"{function.__name__} {name}": (name, function)
    for function, names in (
        (damage.damage_bytes, JSON + TENSORS),
        (damage.damage_json_file, JSON),
        (damage.damage_state, JSON[3:]),
        (damage.damage_tensors, TENSORS),
    )
    for name in names
}
"""Each damage: the file, and the function that damages it."""


def weights(run: Path) -> list[dict[str, torch.Tensor]]:
    """Return the weights of the model of a run and of its checkpoint, and the optimizer of a resumed run."""
    found = [dict(load_run(folder).state_dict()) for folder in (run, run / CHECKPOINT)]
    plan = read_plan(run).plan
    stepper = make_stepper(plan, None)
    progress = load_checkpoint(run / CHECKPOINT, stepper.model, stepper.optimizer, torch.device("cpu"))
    assert progress.step == 3
    found += [dict(stepper.model.state_dict()), optimizer_tensors(stepper.model, stepper.optimizer)]
    return found


def use(run: Path) -> None:
    """Read a run as all commands do."""
    read_results(run / "results.json")
    compare([run])
    for folder in (run, run / CHECKPOINT):
        load_preparation(folder)
        token_limit_of_training(folder)
        load_run(folder)
    inputs = from_run(run, None, None)
    # Compiling would take a minute.
    if not inputs.stepper.config.compile:
        inputs.stepper.backward(inputs.batches)
        inputs.stepper.update(0.001)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    # Each example loads several models. `make fuzz` tries more.
    max_examples=25 if settings().derandomize else 2_000,
)
@given(name=st.sampled_from(sorted(DAMAGES)), seed=st.integers(0, 2**32))
def test_a_damaged_run_is_refused_or_right(trained_once: Path, tmp_path: Path, name: str, seed: int) -> None:
    run, (file, damage_file) = tmp_path / "run", DAMAGES[name]
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(trained_once, run)
    what = damage_file(run / file, random.Random(seed))
    note(f"{name}: {what}")
    try:
        use(run)
    except AamError as error:
        refused = error
        assert refused.exit_code in (1, 2)
        assert refused.where
        assert len(str(refused)) < 3000
        return
    assert not what.startswith("_"), "this tensor is not that of the model"
    if name.startswith("damage_bytes") and file.endswith(("safetensors", "state.json")):
        for found, expected in zip(weights(run), weights(trained_once), strict=True):
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
