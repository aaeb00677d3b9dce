"""Distance heads by name."""

from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.heads.base import DistanceHead
from aammodel.nn.heads.euclidean import EuclideanHead
from aammodel.nn.heads.unifrac import SoftAbundanceHead, SoftBranchHead


def distance_head(config: ModelConfig, target: str) -> DistanceHead:
    """Make the head of one target, of the kind that a configuration names."""
    if config.distance_head != "soft-branch":
        return EuclideanHead(config, target)
    return (SoftBranchHead if METRICS[target].by_presence else SoftAbundanceHead)(config, target)
