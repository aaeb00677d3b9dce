"""Files of models."""

import torch
from safetensors.torch import load

from aam_schemas.preparation import Preparation
from aammodel.runs.checkpoint import model_file


def test_equal_models_are_equal_files() -> None:
    weights = {"weight": torch.zeros(2), "a": torch.ones(1)}
    (content,) = {model_file(weights, {"name": "ü"}, Preparation()) for _ in range(20)}
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load(content).items())
