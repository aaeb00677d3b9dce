"""Find the inputs that a metric needs and a shard set lacks, and the metrics that can be computed."""

from aam_schemas.common.errors import UsageError
from aam_schemas.shards import DISTANCES_FILE
from aammodel.data.shards import ShardSet
from aammodel.distances.metrics import METRICS, available_metrics


def why_unavailable(shards: ShardSet, metric: str) -> tuple[str, str]:
    """Return why a metric cannot be computed for a shard set, and how to change that.

    Parameters
    ----------
    shards : ShardSet
    metric : str
        A name in `METRICS` that is not available for these shards, or `faith_pd`.
    """
    if metric not in METRICS or METRICS[metric].over == "branches":
        return f"these shards have no tree, which {metric} needs", "shard the table again with --tree"
    if any(file.name == DISTANCES_FILE for file in shards.manifest.files):
        what = f"{metric} distances are read from a folder only, and these shards are on a server"
        return what, "copy the shards to this machine"
    what = f"these shards have no precomputed distances, which {metric} needs"
    return what, "shard the table again with --distances"


def unavailable(shards: ShardSet, metric: str, option: str) -> UsageError:
    """Return the error for a metric that cannot be computed. It names those that can.

    Parameters
    ----------
    shards : ShardSet
    metric : str
        As for `why_unavailable`.
    option : str
        Option that chooses a metric.
    """
    what, fix = why_unavailable(shards, metric)
    others = alternatives(shards)
    return UsageError(what, str(shards.folder), f"use {option} {others} with these shards, or {fix}")


def alternatives(shards: ShardSet) -> str:
    """Return the metrics that can be computed for a shard set, as text: `a, b or c`."""
    *names, last = available_metrics(shards.metric_inputs)
    return f"{', '.join(names)} or {last}" if names else last
