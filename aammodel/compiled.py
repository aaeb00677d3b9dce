"""Transformers compiled by torch: worth a minute's wait where steps are many, on a GPU above all."""

import os
import shutil
import sys

import torch

from aammodel.model import AamModel
from schemas.errors import UsageError


def compile_transformers(model: AamModel) -> None:
    """Compile what nearly all the time goes into; shapes may change without compiling again.

    Raises
    ------
    UsageError
        If there is no C++ compiler, with which torch does it.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if not shutil.which(compiler):
        raise UsageError(
            "torch compiles with a C++ compiler, and there is none",
            f"{compiler} (CXX names another)",
            "install one, or train with compile = false",
        )
    # Of several graphs that fit, always the first: activations that are computed again must come from the
    # graph that they came from at first (pytorch issue 166926, whose error message asks for this call).
    torch._C._dynamo.eval_frame._set_lru_cache(False)  # type: ignore[attr-defined]
    model.asv_encoder.transformer.compile(dynamic=True)
    model.sample_encoder.transformer.compile(dynamic=True)
