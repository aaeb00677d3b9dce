"""`--overwrite` replaces a folder that one of our programs wrote, even a damaged one, and no other."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aam_schemas.common.files import Files
from aam_schemas.common.owner import owned
from aammodel.runs.checkpoint import list_checkpoints, remove_checkpoints
from tests.helpers.shards import make_shards, tiny_config
from tests.helpers.studies import Programs, Ran

KINDS = ("shards", "run", "evaluation", "study")
MAIN_FILES = {
    "shards": "manifest.json",
    "run": "config.json",
    "evaluation": "evaluation.json",
    "study": "simulated.json",
}


@pytest.fixture
def made(run: Programs, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one folder of each kind, copied from folders that the programs made."""
    first = tmp_path_factory.getbasetemp() / "made"
    if not first.exists():
        first.mkdir()
        tiny_config(first)
        make_shards(run, first)
        for kind in KINDS[1:]:
            ran = write(run, first, kind)
            assert ran.code == 0, ran.err
    return Path(shutil.copytree(first, tmp_path / "made", symlinks=True))


def write(run: Programs, folder: Path, kind: str, *options: object, output: object = None) -> Ran:
    """Write a folder of a kind with the program that makes it."""
    output = folder / kind if output is None else output
    shards, config = folder / "shards", ("--config", folder / "tiny.toml")
    arguments: dict[str, tuple[object, ...]] = {
        "shards": ("aamprep", "shard", folder / "table.biom"),
        "run": ("aammodel", "pretrain", shards, *config, "--max-steps", 2),
        "evaluation": ("aammodel", "evaluate", folder / "run", shards, "--split", "train"),
        "study": ("aamprep", "simulate"),
    }
    if kind == "study":
        return run(*arguments[kind], output, "--samples", 10, "--asvs", 20, *options)
    return run(*arguments[kind], "--output", output, *options)


def tree_of(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_ino for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_ours_is_replaced(run: Programs, made: Path, kind: str) -> None:
    before = (made / kind / MAIN_FILES[kind]).stat().st_ino
    assert write(run, made, kind).code == 2
    ran = write(run, made, kind, "--overwrite")
    assert ran.code == 0, ran.err
    assert (made / kind / MAIN_FILES[kind]).stat().st_ino != before
    assert not [name for name in os.listdir(made) if name.startswith(".")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["thesis.docx", "src/main.py", ".git/config", "notes.json", "plot.png"])
def test_a_folder_with_a_foreign_file_is_not_replaced(
    run: Programs, made: Path, kind: str, name: str
) -> None:
    path = made / kind / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    before = tree_of(made)
    ran = write(run, made, kind, "--overwrite")
    assert ran.code == 2
    assert name.split("/")[0] in ran.err
    assert tree_of(made) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_with_a_file_of_the_same_name_is_not_replaced(run: Programs, made: Path, kind: str) -> None:
    other = made / "other"
    other.mkdir()
    (other / "data.csv").write_text("1,2\n")
    for content in ('{"name": "another program"}', "not JSON", "[]", '{"files": [], "model": {}}', ""):
        (other / MAIN_FILES[kind]).write_text(content)
        before = tree_of(made)
        assert write(run, made, kind, "--overwrite", output=other).code == 2
        assert tree_of(made) == before
    (other / "data.csv").unlink()
    assert write(run, made, kind, "--overwrite", output=other).code == 2


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, remove])
@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "asvs.parquet"])
def test_a_damaged_shard_set_is_replaced(
    run: Programs, made: Path, damage: Callable[[Path], None], name: str
) -> None:
    damage(made / "shards" / name)
    ran = write(run, made, "shards", "--overwrite")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "model.safetensors", "report.html"])
def test_a_damaged_run_is_replaced(run: Programs, made: Path, name: str) -> None:
    truncate(made / "run" / name)
    ran = write(run, made, "run", "--overwrite")
    assert ran.code == 0, ran.err


def test_a_run_that_was_killed_at_its_start_is_replaced(run: Programs, made: Path) -> None:
    for path in (made / "run").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "config.json":
            path.unlink()
    ran = write(run, made, "run", "--overwrite")
    assert ran.code == 0, ran.err


def test_an_edited_simulated_study_is_not_replaced(run: Programs, made: Path) -> None:
    with (made / "study" / "metadata.tsv").open("a") as file:
        file.write("S99999\tgut\t33\n")
    assert write(run, made, "study", "--overwrite").code == 2


@pytest.mark.parametrize("kind", ["run", "evaluation"])
def test_no_output_is_an_input_or_contains_or_lies_within_one(
    run: Programs, made: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    before = tree_of(made)
    monkeypatch.chdir(made)
    for output in ("shards", ".", "..", made, "shards/deeper", made.parent):
        assert write(run, made, kind, "--overwrite", output=output).code == 2
        assert tree_of(made) == before


def test_shards_do_not_replace_what_they_are_made_of(run: Programs, made: Path) -> None:
    shutil.copy(made / "table.biom", made / "shards" / "table.biom")
    before = tree_of(made)
    for output in (made, made / "shards"):
        ran = run("aamprep", "shard", made / "shards" / "table.biom", "--output", output, "--overwrite")
        assert ran.code == 2
        assert tree_of(made) == before


def test_a_merged_set_does_not_replace_one_that_it_is_made_of(run: Programs, made: Path) -> None:
    shutil.copytree(made / "shards", made / "second")
    before = tree_of(made)
    ran = run(
        "aamprep", "merge", made / "shards", made / "second", "--output", made / "second", "--overwrite"
    )
    assert ran.code == 2
    assert "it is an input" in ran.err
    assert tree_of(made) == before


def test_a_link_is_not_replaced(run: Programs, made: Path) -> None:
    (made / "link").symlink_to(made / "run")
    before = tree_of(made)
    ran = write(run, made, "run", "--overwrite", output=made / "link")
    assert ran.code == 2
    assert str(made / "run") in ran.err
    assert tree_of(made) == before


def test_a_run_in_training_is_not_replaced(run: Programs, made: Path) -> None:
    with owned(made / "run"):
        before = tree_of(made)
        ran = write(run, made, "run", "--overwrite")
        assert ran.code == 2
        assert f"process {os.getpid()}" in ran.err
        assert tree_of(made) == before


def test_a_checkpoint_with_a_file_of_the_user_is_kept(made: Path) -> None:
    checkpoint = list_checkpoints(made / "run")[0]
    for step in range(3, 6):
        shutil.copytree(checkpoint, checkpoint.with_name(f"step-{step:06d}"))
    (checkpoint.with_name("step-000003") / "notes.txt").write_text("the best one")
    remove_checkpoints(made / "run", 1, 99, Files())
    kept = [path.name for path in list_checkpoints(made / "run")]
    assert kept == ["step-000003", "step-000005"]
