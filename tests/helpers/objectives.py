"""The two objectives of pretraining, asked about an output of a model in one process."""

from torch import Tensor

from aammodel.batch import Batch
from aammodel.nn.model import AamModel, Output
from aammodel.objectives.base import ForwardPass
from aammodel.objectives.distances import DistanceObjective
from aammodel.objectives.nucleotides import NucleotideObjective

BASES = NucleotideObjective(1.0)
DISTANCES = DistanceObjective(1.0, {"unweighted_unifrac": 1.0})


def nucleotide_loss_sum(model: AamModel, output: Output, batch: Batch) -> Tensor:
    """Return the cross-entropy summed over the masked bases."""
    return BASES.loss_sum(ForwardPass(model, batch, output))


def distance_loss_sum(model: AamModel, output: Output, batch: Batch) -> Tensor:
    """Return the squared error of distances summed over the pairs, by target."""
    return DISTANCES.loss_sum(ForwardPass(model, batch, output))


def predicted(model: AamModel, output: Output) -> Tensor:
    """Return the predicted distances of the samples of a batch, shape (T, B, B)."""
    return model.distance(output.distance_features, output.distance_features)
