"""Load the model of a run, with the weights of the best validation, and check whether shards fit it."""

import logging
from pathlib import Path

import torch

from aam_schemas import vocabulary
from aam_schemas.common.errors import InvalidDataError, UsageError
from aam_schemas.manifest import MANIFEST_FILE
from aam_schemas.preparation import Preparation
from aammodel.config.model import ModelConfig
from aammodel.data.shards import ShardSet
from aammodel.nn.model import AamModel
from aammodel.nn.sizes import model_without_weights, require_memory
from aammodel.objectives.registry import add_heads
from aammodel.runs.checkpoint import MODEL_FILE, MODEL_KEYS, OBJECTIVE_HEADS, model_config_of
from aammodel.runs.config_file import limit_in_config
from aammodel.runs.state_file import STATE_FILE, read_state
from aammodel.runs.tensor_file import Header, Kind, Tensors, read_header, read_tensors, require_finite

_LOGGER = logging.getLogger(__name__)
_FIX = "copy the run again, or train a new model"


def load_run(run: Path, device: torch.device | str = "cpu", must_be_finite: bool = True) -> AamModel:
    """Load the model of a run.

    The names, types and shapes of all weights are compared with those that the configuration asks for,
    before memory is allocated for them.

    Parameters
    ----------
    run : Path
        Folder of the run, folder of one of its checkpoints, or a file `model.safetensors`, which includes the
        configuration of the model.
    device : torch.device or str
    must_be_finite : bool
        Whether to refuse non-finite weights. Only a diagnosis can use them.

    Returns
    -------
    AamModel
        In evaluation mode.

    Raises
    ------
    UsageError
        If there is no such run, or it does not fit into memory.
    InvalidDataError
        If its file is damaged, or has a non-finite weight.
    """
    header = _model_header(run)
    config = model_config_of(header)
    # Each layer has weights, so a file without them cannot make us build its layers.
    num_layers = config.asv_layers + config.sample_layers + config.distance_head_layers
    if num_layers > len(header.kinds):
        raise header.refuse(f"it has {len(header.kinds)} tensors, and its model_config {num_layers} layers")
    model = _make_model(header, config)
    require_memory(header.num_bytes, torch.device("cpu"), "its weights", str(header.path))
    weights = read_tensors(header)
    if must_be_finite:
        require_finite(header, weights)
    _load(model, weights)
    return model.to(device).eval()


def _model_header(run: Path) -> Header:
    """Read the header of a model file. In the folder of a checkpoint, `state.json` must list its hash."""
    path = _model_path(run)
    header = read_header(path, MODEL_KEYS, _FIX)
    state_path = path.with_name(STATE_FILE)
    if run.is_dir() and state_path.exists():
        digests = read_state(state_path, _FIX).digests
        if digests is not None and digests.get(MODEL_FILE) != header.sha256:
            raise header.refuse(
                f"this file belongs to another checkpoint than {STATE_FILE} beside it, which has another hash"
            )
    elif header.sha256 is None:
        _LOGGER.info("%s: written by an earlier version, without a hash, so damage may go unseen", path)
    return header


def _make_model(header: Header, config: ModelConfig) -> AamModel:
    """Return the model without weights, after comparing the file with it."""
    model = model_without_weights(config)
    # Heads of objectives that are not registered are left out, since only their own loss needs them.
    heads = {name: kind for name, kind in header.kinds.items() if name.startswith(OBJECTIVE_HEADS)}
    add_heads(model, {name.split(".")[1] for name in heads})
    own = {name: Kind.of(tensor) for name, tensor in model.state_dict().items()}
    kept = tuple(f"{OBJECTIVE_HEADS}{name}." for name in model.objective_heads)
    header.require(own | {name: kind for name, kind in heads.items() if not name.startswith(kept)})
    return model


def _load(model: AamModel, weights: Tensors) -> None:
    """Put weights into a model without weights."""
    names = list(model.objective_heads)
    # A head from outside may have tensors that are not stored. So it is made anew, with memory.
    model.objective_heads.clear()
    model.load_state_dict({name: weights[name] for name in model.state_dict()}, assign=True)
    add_heads(model, names)
    model.load_state_dict({name: weights[name] for name in model.state_dict()})


def load_preparation(run: Path) -> Preparation | None:
    """Return how the samples that a model was trained on were prepared.

    Parameters
    ----------
    run : Path
        As for `load_run`.

    Returns
    -------
    Preparation or None
        None if the model was written before preparations were stored. `token_limit_of_training` also works
        for such runs.

    Raises
    ------
    UsageError
        If there is no such run.
    InvalidDataError
        If its file is damaged, or its preparation was stored by a later version.
    """
    header = _model_header(run)
    if "preparation" not in header.metadata:
        return None
    values = header.json("preparation")
    try:
        return Preparation.from_dict(values)
    except (TypeError, ValueError) as error:
        raise header.refuse(f"its preparation is invalid: {error}") from error


def token_limit_of_training(run: Path) -> int | None:
    """Return the largest number of ASVs per sample that a model was trained with. None if it is unknown.

    Parameters
    ----------
    run : Path
        As for `load_run`.

    Raises
    ------
    UsageError, InvalidDataError
        As `load_preparation`.
    """
    preparation = load_preparation(run)
    return limit_in_config(run) if preparation is None else preparation.token_limit


def _model_path(run: Path) -> Path:
    path = run / MODEL_FILE if run.is_dir() else run
    if not path.is_file():
        is_shards = (run / MANIFEST_FILE).is_file()
        raise UsageError(
            f"there is no trained model here: {MODEL_FILE} is missing",
            str(run),
            "this is a shard set: give a run, for instance `aammodel evaluate RUN SHARDS`"
            if is_shards
            else "give a folder that `aammodel pretrain` wrote, or a model file",
        )
    # A file that is named itself may be a link, as in the caches of download tools.
    return path if run.is_dir() else path.resolve()


def check_fits(
    model: AamModel, shards: ShardSet, token_limit: int | None = None, name: str | None = None
) -> None:
    """Raise an error if a model cannot process the samples of shards.

    Parameters
    ----------
    model : AamModel
    shards : ShardSet
    token_limit : int or None
        Maximum number of ASVs in a sample, if it is below the limit of the shards.
    name : str, optional
        Name of the samples in messages. By default, the folder of the shards.

    Raises
    ------
    UsageError
        If ASVs have more bases, or samples more ASVs, than the model has positions for.
    InvalidDataError
        If an ASV has an ambiguity code, and the model has no token for it.
    """
    config, where = model.config, name or str(shards.folder)
    if shards.manifest.sequence_length > config.sequence_length:
        raise asvs_too_long(shards, config.sequence_length, where)
    limit = min(token_limit or shards.manifest.choices.token_limit, shards.manifest.choices.token_limit)
    if 0 < config.slot_positions < limit:
        raise UsageError(
            f"there are samples of up to {limit} ASVs, and the model has positions for "
            f"{config.slot_positions}",
            where,
            f"add --token-limit {config.slot_positions}, or shard the table again with it",
        )
    if config.vocabulary_size <= vocabulary.N:
        _check_bases(shards, config.vocabulary_size)


def asvs_too_long(shards: ShardSet, sequence_length: int, where: str) -> UsageError:
    """Return the error for ASVs with more bases than a model has positions for.

    Parameters
    ----------
    shards : ShardSet
    sequence_length : int
        Number of tokens that the model accepts, with START.
    where : str
        Name of the samples.
    """
    is_longer = (shards.tokens[:, sequence_length:] != vocabulary.PAD).any(axis=1)
    longest, supported, number = (
        shards.manifest.sequence_length - 1,
        sequence_length - 1,
        int(is_longer.sum()),
    )
    trim = (
        f"if it is the same region, trim the reads to {supported} bases before denoising (in QIIME 2, "
        "--p-trim-length of deblur or --p-trunc-len of dada2), and prepare the samples again"
    )
    return UsageError(
        f"these samples have ASVs of up to {longest} bases, and the model has positions for {supported} "
        f"({number:,} of {len(is_longer):,} ASVs are longer)",
        where,
        trim if number == len(is_longer) else f"remove these ASVs from the table; or, {trim}",
    )


def _check_bases(shards: ShardSet, vocabulary_size: int) -> None:
    """Raise an error for ambiguity codes. Published models have no token for them."""
    is_ambiguous = (shards.tokens == vocabulary.N).any(axis=1)
    if is_ambiguous.any():
        raise InvalidDataError(
            f"this ASV has an ambiguity code such as N ({int(is_ambiguous.sum())} ASVs do), and the model's "
            f"vocabulary of {vocabulary_size} has no token for it",
            shards.asv_id(int(is_ambiguous.argmax())),
            "remove these ASVs from the table, and shard it again",
        )
