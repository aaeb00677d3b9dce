"""Importing or calling the packages does not change the state of the process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from aammodel.nn.transformer import attend
from tests.helpers.programs import run_program

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"aam_schemas": "schemas/aam_schemas", "aamprep": "aamprep", "aammodel": "aammodel"}

STATE = """
import os, sys, json, locale, logging, signal, warnings
import matplotlib, numpy, torch

def state():
    backends = torch.backends.cuda
    return {
        # Reading the backend from rcParams would select a backend.
        "matplotlib": {name: repr(value) for name, value in dict.items(matplotlib.rcParams)},
        "attention": [
            getattr(backends, f"{kernel}_sdp_enabled")()
            for kernel in ("cudnn", "flash", "math", "mem_efficient")
        ],
        "dtype": str(torch.get_default_dtype()),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "warnings": [repr(item) for item in warnings.filters],
        "signals": {str(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "numpy errors": numpy.geterr(),
        "locale": locale.setlocale(locale.LC_ALL),
        "environment": dict(os.environ),
        "log handlers": {
            name: [repr(logger.handlers), logger.level]
            for name in ("", "aam_schemas", "aamprep", "aammodel")
            for logger in [logging.getLogger(name or None)]
        },
        "random": [torch.initial_seed(), repr(numpy.random.get_state())],
    }
"""


def modules() -> list[str]:
    """Return the names of all modules of the three packages."""
    names = []
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            names.append(".".join([package, *(part for part in parts if part != "__init__")]))
    return names


def changed_by(code: str, folder: Path = ROOT, needs: str = "") -> dict[str, list[object]]:
    """Return the state that some code changes in a fresh interpreter: values before and after, by name.

    `needs` are imports of other packages that change the state on their own.
    """
    script = f"{STATE}\n{needs}\nbefore = state()\n{code}\nafter = state()\n"
    script += "print(json.dumps({k: [v, after[k]] for k, v in before.items() if v != after[k]}))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "", ran.stderr
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def test_importing_every_module_changes_nothing() -> None:
    # Third-party packages add warnings filters when they are first imported.
    others = (
        "import torch.utils.tensorboard, pandera.polars, fsspec, pyarrow, scipy.sparse, typer, h5py, rich, "
        "sklearn.ensemble"
    )
    names = modules()
    assert len(names) > 150
    assert changed_by("\n".join(f"import {name}" for name in names), needs=others) == {}


class SeesAttention(TorchFunctionMode):
    """Mode that records, at each attention call, whether PyTorch may choose the kernel of cuDNN."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if function is F.scaled_dot_product_attention:
            self.seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("was_enabled", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_attention_on_a_gpu_is_computed_without_cudnn(was_enabled: bool) -> None:
    """Use fake CUDA tensors, since most machines that run the tests have no GPU."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(was_enabled)
    try:
        with FakeTensorMode(), SeesAttention() as sees:
            tensor = torch.empty(2, 2, 64, 16, device="cuda")
            attend(tensor, tensor, tensor, torch.ones(2, 1, 1, 64, dtype=torch.bool, device="cuda"))
        assert sees.seen == [False]
        assert torch.backends.cuda.cudnn_sdp_enabled() == was_enabled
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def test_a_run_from_python_changes_nothing(tmp_path: Path) -> None:
    run_program("aamprep", "simulate", "study", "--samples", "40", "--asvs", "60", folder=tmp_path)
    run_program(
        "aamprep",
        "shard",
        "study/table.biom",
        "--tree",
        "study/tree.nwk",
        "--output",
        "shards",
        folder=tmp_path,
    )
    code = """
from pathlib import Path
from aammodel.config.train import TrainConfig
from aammodel.training.setup import make_plan, make_trainer
from aammodel.workflows.pretrain import begin_run, finish_run

train = TrainConfig(max_steps=2, batch_size=4, validation_samples=4, device="cpu")
plan = make_plan(Path("shards"), {"width": 16}, train)
with begin_run(plan, Path("run"), overwrite=False):
    pass
trainer = make_trainer(plan, Path("run"), resume=False)
trainer.fit()
finish_run(plan, trainer)
"""
    # PyTorch changes some settings on first use. These are not ours.
    needs = "import torch; torch.set_num_threads(2); torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])"
    changed = changed_by(code, tmp_path, needs)
    assert set(changed) <= {"random"}
