"""Measure how much memory a large training step takes: `python benchmarks/step_memory.py`.

The batch has 8 samples of 1,024 ASVs with 150 bases each. No ASV occurs twice, so no work is shared.
The default model takes two whole steps (losses, gradients, update) in a process of its own, once as
it trains by default (a tenth of the ASVs encoded) and once with all ASVs encoded.

The aim is a peak under 4 GB. The ratio is 4 GB / the larger peak: above 1, the aim is met. `--all` adds the
plain architecture with one position per base.
"""

import argparse
import json
import resource
import subprocess
import sys

import numpy as np
import torch

from aam_schemas import vocabulary
from aammodel.batch import Batch
from aammodel.config.model import ModelConfig
from aammodel.config.train import TrainConfig
from aammodel.data.masking import draw_encoded, draw_masks
from aammodel.nn.model import AamModel
from aammodel.objectives.registry import make_objectives
from aammodel.training.optimizer import make_optimizer
from aammodel.training.precision import Precision
from aammodel.training.step import Stepper
from helpers.training_methods import PLAIN_ARCHITECTURE

NUM_SAMPLES, TOKEN_LIMIT, NUM_BASES = 8, 1024, 150
STEPS = 2
AIM_BYTES = 4e9
SETTINGS = {
    "default": ({}, TrainConfig().asv_encode_fraction),
    "all ASVs encoded": ({}, 1.0),
    "all ASVs encoded, one position per base": (PLAIN_ARCHITECTURE, 1.0),
}


def main() -> None:
    """Measure each setting in a process of its own, and print the headline last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="the plain architecture, too")
    parser.add_argument("--here", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(peak_bytes_of_training(*SETTINGS[options.here])))
        return
    peaks = [_peak_bytes(name) for name in list(SETTINGS)[: None if options.all else 2]]
    print(f"ratio {AIM_BYTES / max(peaks):.1f}")


def peak_bytes_of_training(model_options: dict[str, object], asv_encode_fraction: float) -> int:
    """Take the steps in this process, and return its peak memory."""
    torch.manual_seed(0)
    batch = largest_batch(asv_encode_fraction)
    model = AamModel(ModelConfig(sequence_length=NUM_BASES + 1, **model_options))
    model.init_from_batch(batch)
    config = TrainConfig()
    precision = Precision("float32", torch.device("cpu"))
    stepper = Stepper(model, make_optimizer(model, config), precision, config, make_objectives(config))
    for _ in range(STEPS):
        stepper.backward([batch])
        stepper.update(1e-3)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def largest_batch(asv_encode_fraction: float) -> Batch:
    """Make a batch without padding in which no ASV occurs twice."""
    numbers = np.random.default_rng(0)
    asv = np.arange(NUM_SAMPLES * TOKEN_LIMIT)
    tokens = numbers.integers(vocabulary.A, vocabulary.T + 1, (len(asv), NUM_BASES + 1)).astype(np.uint8)
    tokens[:, 0] = vocabulary.START
    is_encoded = draw_encoded(asv, seed=0, step=0, fraction=asv_encode_fraction)
    masked, masked_token = draw_masks(tokens[is_encoded], asv[is_encoded], seed=0, step=0)
    masked[:, 0] = np.flatnonzero(is_encoded)[masked[:, 0]]
    distance = numbers.random((NUM_SAMPLES, NUM_SAMPLES), dtype=np.float32)
    slot = torch.from_numpy(asv).view(NUM_SAMPLES, TOKEN_LIMIT)
    return Batch(
        sample_ids=tuple(f"S{number}" for number in range(NUM_SAMPLES)),
        tokens=torch.from_numpy(tokens),
        asv_row=torch.from_numpy(asv),
        is_encoded=torch.from_numpy(is_encoded),
        slot=slot,
        count=torch.ones(slot.shape),
        is_real=torch.ones(slot.shape, dtype=torch.bool),
        distance=torch.from_numpy(distance + distance.T)[None] / 2,
        masked=torch.from_numpy(masked),
        masked_token=torch.from_numpy(masked_token),
        position=torch.arange(NUM_SAMPLES),
        micro_batch_size=NUM_SAMPLES,
    )


def _peak_bytes(name: str) -> int:
    ran = subprocess.run(
        [sys.executable, __file__, "--here", name], check=True, stdout=subprocess.PIPE, text=True
    )
    peak = json.loads(ran.stdout)
    print(f"{name:40} {peak / 1e9:5.2f} GB", flush=True)
    return peak


if __name__ == "__main__":
    main()
