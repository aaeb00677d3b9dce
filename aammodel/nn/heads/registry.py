"""Choose the distance head of a target."""

from aammodel.config.model import ModelConfig
from aammodel.distances.metrics import METRICS
from aammodel.nn.heads.base import DistanceHead
from aammodel.nn.heads.euclidean import EuclideanHead
from aammodel.nn.heads.unifrac import SoftAbundanceHead, SoftBranchHead


def make_distance_head(config: ModelConfig, target: str) -> DistanceHead:
    """Make the head of one target.

    Parameters
    ----------
    config : ModelConfig
        Its `distance_head` names the kind of head.
    target : str
        Name of a metric. With soft branches, it decides whether presence or abundance is compared.
    """
    if config.distance_head != "soft-branch":
        return EuclideanHead(config, target)
    return (SoftBranchHead if METRICS[target].by_presence else SoftAbundanceHead)(config, target)
