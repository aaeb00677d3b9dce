"""The losses and weights of a 30-step run are frozen, with dropout, accumulation, checkpoints and validation.

`tests/helpers/frozen.py` explains how to regenerate the assets. They are bit-equal only with the same
kernels, hence on the same processor with the same library versions. Elsewhere the losses agree to a relative
0.1 %. The run uses one thread, because the random numbers of dropout depend on the number of threads.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.helpers.frozen import kept
from tests.helpers.programs import run_program

COMMON = """
max_steps = 30
batch_size = 4
accumulate = 2
seed = 1
learning_rate = 0.003
validate_every = 10
checkpoint_every = 10
device = "cpu"
"""
CONFIGS = {
    "default": f"""
[train]
asv_encode_fraction = 0.5
{COMMON}
[model]
width = 16
attention_heads = 2
asv_layers = 1
sample_layers = 1
soft_branches = 8
dropout = 0.1
""",
    "euclidean": f"""
[train]
rarefy_fraction = 0.5
bucket = true
mask_span = 3
targets = {{ unweighted_unifrac = 1.0, weighted_unifrac = 0.5, braycurtis = 0.25 }}
{COMMON}
[model]
width = 16
attention_heads = 2
asv_layers = 2
sample_layers = 1
distance_head_layers = 1
distance_head = "euclidean"
count_embedding = "film"
dropout = 0.2
inner_dropout = 0.1
""",
}

NAMES = {
    "loss": "total",
    "nucleotide_loss": "nucleotide",
    "unifrac_loss": "distance",
    "unweighted_unifrac_loss": "unweighted_unifrac",
    "weighted_unifrac_loss": "weighted_unifrac",
    "braycurtis_loss": "braycurtis",
    "gradient_norm": "gradient_norm",
    "learning_rate": "learning_rate",
}
"""Names in the assets by names in metrics.jsonl. Only the latter may change."""
VALIDATION = "val_"
"""Prefix of the validation metrics in metrics.jsonl."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds shards of a simulated study."""
    folder = tmp_path_factory.mktemp("frozen")
    run_program("aamprep", "simulate", "study", "--samples", 40, "--asvs", 60, "--seed", 3, folder=folder)
    run_program("aamprep", "shard", "study/table.biom", "--token-limit", 24, folder=folder)
    return folder


def processor() -> str:
    """Return the name and model numbers of the processor. Different models may share a name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    names = ("model name", "cpu family", "model", "stepping")
    return ", ".join(f"{name} {facts[name]}" for name in names if name in facts)


def machine() -> dict[str, str]:
    """Return everything that determines which kernels compute a run."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
    }


def losses_of(run: Path) -> dict[str, list[dict[str, float]]]:
    """Return the rows of training and validation, under the names of the assets."""
    found: dict[str, list[dict[str, float]]] = {"training": [], "validation": []}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        kind = "validation" if any(name.startswith(VALIDATION) for name in row) else "training"
        named = {name.removeprefix(VALIDATION): value for name, value in row.items()}
        known = {new: named[old] for old, new in NAMES.items() if old in named}
        found[kind].append({"step": row["step"], **known})
    return found


def tensors_of(run: Path) -> dict[str, str]:
    """Return the SHA-256 of each tensor of the final model, by name."""
    tensors = load_file(run / "model.safetensors")
    return {
        name: hashlib.sha256(f"{tensor.dtype} {tensor.shape}".encode() + tensor.tobytes()).hexdigest()
        for name, tensor in sorted(tensors.items())
    }


def assert_near(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare the losses of two machines, whose kernels round differently."""
    for kind, rows in expected["losses"].items():
        assert len(found["losses"][kind]) == len(rows)
        for row, other in zip(found["losses"][kind], rows, strict=True):
            assert row == pytest.approx(other, rel=1e-3), (kind, other["step"])
    assert found["tensors"].keys() == expected["tensors"].keys()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "euclidean" else ()) for name in CONFIGS]
)
def test_losses_are_those_of_before(shards: Path, name: str) -> None:
    (shards / f"{name}.toml").write_text(CONFIGS[name])
    options = ("--config", f"{name}.toml", "--output", name)
    run_program("aammodel", "pretrain", "shards", *options, folder=shards)
    run = shards / name
    found = {"machine": machine(), "losses": losses_of(run), "tensors": tensors_of(run)}
    assert len(found["losses"]["training"]) == 30
    expected = kept(f"losses_{name}.json", found)
    if found["machine"] == expected["machine"]:
        assert found == expected
    else:
        assert_near(found, expected)
