"""Files that are not published checkpoints are refused with the reason, and nothing is written."""

import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from aam_schemas.common.errors import InvalidDataError
from aammodel.interop.aam.checkpoint import MOST_BYTES, MOST_PICKLE_BYTES
from tests.helpers.published_checkpoints import (
    Sizes,
    imported,
    predictor,
    random_state,
    write,
    written,
)
from tests.helpers.reference_model import Weights
from tests.helpers.studies import Programs

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST = "sample_encoder.asv_encoder.transformer.encoder.layers.0"
TOKENS = "sample_encoder.asv_encoder.token_embedding.weight"


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def instead(name: str, value: object) -> Callable[[Weights], object]:
    return lambda state: state | {name: value}


BAD_STATES: dict[str, tuple[Callable[[Weights], object], str]] = {
    "missing-bias": (without(f"{FIRST}.norm2.bias"), f"missing name: {FIRST}.norm2.bias"),
    "missing-width": (without(f"{FIRST}.linear1.weight"), f"missing name: {FIRST}.linear1.weight"),
    "missing-tokens": (without(TOKENS), f"missing name: {TOKENS}"),
    "missing-query": (without("attention_pooling.query.weight"), "missing name: attention_pooling.query"),
    "half-a-nucleotide-head": (
        without("sample_encoder.asv_encoder.nucleotide_head.bias"),
        "missing name: sample_encoder.asv_encoder.nucleotide_head.bias",
    ),
    "no-third-stack": (
        lambda state: {
            key: value for key, value in state.items() if not key.startswith("encoder_transformer.")
        },
        "missing names: encoder_transformer.encoder.layers.0.linear1.bias",
    ),
    "unexpected": (
        instead("sample_encoder.gate.weight", torch.ones(3)),
        "unexpected name: sample_encoder.gate",
    ),
    "two-count-embeddings": (
        lambda state: random_state(Sizes(count="film")) | {"sample_encoder.count_embed.bias": torch.ones(16)},
        "unexpected name: sample_encoder.count_embed.bias",
    ),
    "unexpected-beside-a-predictor": (
        lambda state: predictor(state) | {"mystery.weight": torch.ones(3)},
        "unexpected name: mystery.weight",
    ),
    "an-encoder-twice": (
        lambda state: predictor(state) | {TOKENS: state[TOKENS]},
        f"unexpected name: {TOKENS}",
    ),
    "wrong-shape": (
        instead("encoder_transformer.norm.bias", torch.ones(15)),
        r"encoder_transformer.norm.bias has shape \(15,\), but must have \(16,\)",
    ),
    "tokens-in-one-dimension": (instead(TOKENS, torch.ones(7)), f"{TOKENS} is not a matrix"),
    "odd-feed-forward": (
        instead(f"{FIRST}.linear1.weight", torch.ones(40, 16)),
        "feed-forward width of 40 is not a multiple of its width of 16",
    ),
    "small-vocabulary": (instead(TOKENS, torch.ones(5, 16)), "vocabulary_size must be 6, 7 or 8, and is 5"),
    "not-finite": (
        instead("attention_pooling.norm.bias", torch.full((16,), torch.nan)),
        "attention_pooling.norm.bias has non-finite values",
    ),
    "integers": (
        instead("attention_pooling.norm.bias", torch.ones(16, dtype=torch.int64)),
        "attention_pooling.norm.bias is not a plain tensor of floating-point numbers",
    ),
    "sparse": (instead(TOKENS, torch.ones(7, 16).to_sparse()), f"{TOKENS} is not a plain tensor"),
    "no-tensor": (instead("attention_pooling.norm.bias", 3), "attention_pooling.norm.bias is not a tensor"),
    "a-view-larger-than-the-file": (
        instead(TOKENS, torch.ones(1, 1).expand(7, 2**40)),
        "claim to hold more numbers than the file does",
    ),
    "empty": (lambda state: {}, "no model_state_dict"),
    "twice": (lambda state: state | {f"module.{TOKENS}": state[TOKENS]}, "a name twice"),
}


@pytest.mark.parametrize("bad", BAD_STATES)
def test_an_invalid_tensor_is_refused_by_name(run: Programs, tmp_path: Path, bad: str) -> None:
    change, message = BAD_STATES[bad]
    path = write(tmp_path / "published.pt", change(random_state(Sizes())))
    with pytest.raises(InvalidDataError, match=message):
        imported(path)
    assert run("aammodel", "import", path, "--output", tmp_path / "run").code == 1
    assert not (tmp_path / "run").exists()


class Hostile:
    """Object that writes a file when it is unpickled without restrictions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def listed_twice(path: Path) -> None:
    """List each entry of the archive twice, over the same bytes."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("version", "3")
        archive.filelist += archive.filelist


def listed_under_two_names(path: Path) -> None:
    """List each entry of the archive under a second name, over the same bytes."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("version", "3")
        others = [copy(entry) for entry in archive.filelist]
        for entry in others:
            entry.filename = f"b{entry.filename[1:]}"
        archive.filelist += others


def flipped(path: Path) -> None:
    """Change one bit of a weight."""
    content = bytearray(path.read_bytes())
    place = content.index(random_state(Sizes())[TOKENS].numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("no checkpoint"), "this is not a checkpoint"),
    "nothing": (lambda path: path.write_bytes(b""), "this is not a checkpoint"),
    "cut-short": (lambda path: path.write_bytes(path.read_bytes()[:-3000]), "this is not a checkpoint"),
    "a-flipped-bit": (flipped, "is damaged: .*data/.* has a wrong checksum"),
    "compressed": (compressed, "it is compressed"),
    "listed-twice": (listed_twice, "a file twice"),
    "listed-under-two-names": (listed_under_two_names, "claims to be larger than it is"),
    "a-long-list": (
        lambda path: write(path, random_state(Sizes()), config="x" * (MOST_PICKLE_BYTES + 1)),
        "its list of tensors has more than",
    ),
    "a-large-file": (lambda path: os.truncate(path, MOST_BYTES + 1), "at most 8,589,934,592 are read"),
    "another-zip": (lambda path: zipfile.ZipFile(path, "w").close(), "cannot be read safely"),
    "a-list": (lambda path: torch.save([1, 2], path), "no model_state_dict"),
    "one-of-several-shards": (
        lambda path: write(path, random_state(Sizes()), fsdp_sharded=True),
        "one of several shards",
    ),
    "old-format": (
        lambda path: torch.save({}, path, _use_new_zipfile_serialization=False),
        "this is not a checkpoint",
    ),
    "hostile": (
        lambda path: write(path, random_state(Sizes()), config=Hostile(path.with_name("touched"))),
        "cannot be read safely",
    ),
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path, bad: str) -> None:
    spoil, message = BAD_FILES[bad]
    path = written(tmp_path)
    spoil(path)
    with pytest.raises(InvalidDataError, match=message):
        imported(path)
    assert not (tmp_path / "touched").exists()


def test_damage_anywhere_is_reported_without_a_crash(tmp_path: Path) -> None:
    path = written(tmp_path, Sizes(width=8))
    with zipfile.ZipFile(path) as archive:
        entries = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    pickled = next(name for name in entries if name.endswith("data.pkl"))
    numbers = np.random.default_rng(0)
    for place in numbers.integers(len(entries[pickled]), size=100):
        before, entries[pickled][place] = entries[pickled][place], int(numbers.integers(256))
        # Written again, so that the checksums are right.
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, bytes(content))
        entries[pickled][place] = before
        with suppress(InvalidDataError):
            imported(path)


def test_wrong_usage_is_reported(run: Programs, tmp_path: Path) -> None:
    path, output = written(tmp_path), tmp_path / "run"
    for options, message in (
        ((tmp_path / "absent.pt",), "no such file"),
        ((path, "--heads", 3), "3 heads do not divide the width of 16"),
        ((path, "--heads", 0), "0 heads"),
        ((path, "--target", "jaccard-like"), "no metric"),
    ):
        ran = run("aammodel", "import", *options, "--output", output)
        assert ran.code == 2
        assert message in ran.err
        assert not output.exists()
    assert run("aammodel", "import", path, "--output", output).code == 0
    again = run("aammodel", "import", path, "--output", output)
    assert again.code == 2
    assert "--overwrite" in again.err
    # Reported before the checkpoint is read, since it may be large.
    assert run("aammodel", "import", tmp_path / "absent.pt", "--output", output).err == again.err
    assert run("aammodel", "import", path, "--output", output, "--overwrite").code == 0
    resumed = run("aammodel", "pretrain", "--resume", output)
    assert resumed.code == 2
    assert "this run was imported" in resumed.err
