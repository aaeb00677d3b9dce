"""Files of models and checkpoints: equal models are equal files, and files of different steps are refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file

import aammodel
from aam_schemas.common.errors import InvalidDataError
from aam_schemas.preparation import Preparation
from aammodel.config.model import ModelConfig
from aammodel.runs.checkpoint import model_file
from aammodel.runs.load import load_run
from aammodel.runs.tensor_file import tensor_file
from tests.helpers.old_keys import forget_hashes, metadata_of
from tests.helpers.studies import Programs

LAST = "checkpoints/step-000003"
Spoil = Callable[[dict[str, torch.Tensor]], None]


def test_equal_models_are_equal_files() -> None:
    weights = {"weight": torch.zeros(2), "a": torch.ones(1)}
    (content,) = {bytes(model_file(weights, {"name": "ü"}, Preparation())) for _ in range(20)}
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load(content).items())


def resume(run: Path) -> None:
    aammodel.resume(run, max_steps=4, allow_changes=True)


def rewrite(path: Path, spoil: Spoil) -> None:
    """Change the tensors of a file, whose hash is right afterwards."""
    tensors, metadata = load_file(path), metadata_of(path)
    metadata.pop("sha256", None)
    spoil(tensors)
    path.write_bytes(bytes(tensor_file(tensors, metadata)))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_file_of_another_step_is_refused(copied: Path, tmp_path: Path, name: str) -> None:
    other = Path(shutil.copytree(copied, tmp_path / "other"))
    resume(other)
    shutil.copy(other / "checkpoints/step-000004" / name, copied / LAST / name)
    with pytest.raises(InvalidDataError, match="belongs to another checkpoint") as raised:
        resume(copied)
    assert raised.value.where.endswith(f"{LAST}/{name}")
    if name == "model.safetensors":
        with pytest.raises(InvalidDataError, match="belongs to another checkpoint"):
            load_run(copied / LAST)


def test_an_optimizer_of_another_step_is_refused_without_hashes_too(copied: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(copied, tmp_path / "other"))
    resume(other)
    shutil.copy(other / "checkpoints/step-000004/optimizer.safetensors", copied / LAST)
    forget_hashes(copied / LAST)
    with pytest.raises(InvalidDataError, match=r"step\|.* is 4, but the run has taken 3 steps"):
        resume(copied)


def test_a_changed_digit_and_another_folder_are_refused(copied: Path) -> None:
    path = copied / LAST / "state.json"
    text = path.read_text()
    path.write_text(text.replace('"batches": 3', '"batches": 2'))
    with pytest.raises(InvalidDataError, match="its values differ from the sha256 in it"):
        resume(copied)
    path.write_text(text)
    (copied / LAST).rename(copied / "checkpoints/step-000005")
    with pytest.raises(InvalidDataError, match="its step is 3, but its folder is step-000005"):
        resume(copied)


def test_a_checkpoint_without_hashes_resumes_with_a_message(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget_hashes(copied / LAST)
    with caplog.at_level("INFO"):
        resume(copied)
    assert "written by an earlier version, without hashes" in caplog.text
    state = json.loads((copied / "checkpoints/step-000004/state.json").read_text())
    assert state["files"].keys() == {"model.safetensors", "optimizer.safetensors"}


def _changed(change: Callable[[torch.Tensor], torch.Tensor]) -> Spoil:
    return lambda tensors: tensors.update({name: change(tensor) for name, tensor in tensors.items()})


def _drop_half(tensors: dict[str, torch.Tensor]) -> None:
    for name in sorted(tensors)[::2]:
        del tensors[name]


SPOILS: dict[str, tuple[Spoil, str]] = {
    "another shape": (_changed(lambda tensor: torch.zeros(tensor.numel() + 1)), "must be float32"),
    "half missing": (_drop_half, "missing tensors: "),
    "all missing": (lambda tensors: tensors.clear(), "tensors"),
    "one more": (lambda tensors: tensors.update(x=torch.zeros(1)), "unexpected tensor: x"),
    "integers": (_changed(torch.Tensor.long), "is int64 of shape"),
    "NaN": (_changed(lambda tensor: tensor / 0), "NaN or infinite"),
}


@pytest.mark.parametrize("spoil", SPOILS)
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_tensors_that_do_not_fit_are_refused(copied: Path, run: Programs, spoil: str, name: str) -> None:
    """A resumed run with such tensors crashed the process, or went on without them."""
    change, words = SPOILS[spoil]
    forget_hashes(copied / LAST)
    rewrite(copied / LAST / name, change)
    ran = run("aammodel", "pretrain", "--resume", copied, "--max-steps", 4, "--allow-changes")
    assert (ran.code, words in " ".join(ran.err.split())) == (1, True), ran.err
    assert name in ran.err
    if name == "model.safetensors":
        shards = json.loads((copied / "config.json").read_text())["shards"]["folder"]
        ran = run("aammodel", "evaluate", copied / LAST, shards, "--output", copied / "evaluation")
        assert (ran.code, words in " ".join(ran.err.split())) == (1, True), ran.err


def test_negative_squares_are_refused(copied: Path) -> None:
    forget_hashes(copied / LAST)

    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        next(tensor for name, tensor in tensors.items() if name.startswith("exp_avg_sq")).fill_(-1.0)

    rewrite(copied / LAST / "optimizer.safetensors", spoil)
    with pytest.raises(InvalidDataError, match="negative values"):
        resume(copied)


@pytest.mark.parametrize(
    "values",
    [{"width": 16_384}, {"sequence_length": 100_000}, {"asv_layers": 512}, {"soft_branches": 10**6}],
    ids=lambda values: next(iter(values)),
)
def test_a_model_is_not_larger_than_its_file(copied: Path, values: dict[str, int]) -> None:
    """Nothing is allocated for sizes that a configuration claims."""
    path = copied / "model.safetensors"
    config = json.loads(metadata_of(path)["model_config"])
    assert ModelConfig(**config).width == 16
    content = tensor_file(load_file(path), {"model_config": json.dumps(config | values)})
    path.write_bytes(bytes(content))
    before = _peak_bytes()
    with pytest.raises(InvalidDataError, match=r"must be|layers|missing"):
        load_run(copied)
    assert _peak_bytes() - before < 300 << 20


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def test_another_configuration_in_a_checkpoint_is_refused(copied: Path) -> None:
    """The number of heads changes no shape."""
    forget_hashes(copied / LAST)
    path = copied / LAST / "model.safetensors"
    config = asdict(load_run(copied / LAST).config) | {"attention_heads": 4}
    path.write_bytes(bytes(tensor_file(load_file(path), {"model_config": json.dumps(config)})))
    with pytest.raises(InvalidDataError, match="its model_config differs"):
        resume(copied)
