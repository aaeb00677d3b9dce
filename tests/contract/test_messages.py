"""Libraries log, programs print on stderr, and readers rename nothing."""

import logging
from pathlib import Path

import pytest

from aam_schemas.common.cli import messages_on_stderr
from aam_schemas.common.errors import UsageError
from aam_schemas.common.names import name_beside
from aam_schemas.common.publish import interrupted, recover
from aam_schemas.manifest import read_manifest
from tests.helpers.studies import Programs

OLD = name_beside(Path("shards"), "old").name


@pytest.fixture
def folder(tmp_path: Path, run: Programs) -> Path:
    """Return a folder with a shard set whose replacement was interrupted between two renames."""
    assert run("aamprep", "simulate", tmp_path / "study", "--samples", 20, "--asvs", 30).code == 0
    assert run("aamprep", "shard", tmp_path / "study/table.biom", "--output", tmp_path / "shards").code == 0
    (tmp_path / "shards").rename(tmp_path / OLD)
    return tmp_path


def test_a_reader_names_the_interrupted_set_and_renames_nothing(folder: Path) -> None:
    with pytest.raises(UsageError, match=f"rename {OLD} to shards"):
        read_manifest(folder / "shards")
    assert interrupted(folder / "shards") == folder / OLD
    assert not (folder / "shards").exists()


def test_a_command_recovers_the_interrupted_set_and_says_so(folder: Path, run: Programs) -> None:
    ran = run("aamprep", "verify", folder / "shards")
    assert ran.code == 0
    assert "shards: recovered" in ran.err
    assert interrupted(folder / "shards") is None
    assert read_manifest(folder / "shards").num_samples == 20
    assert "recovered" not in run("aamprep", "verify", folder / "shards").err


def test_an_option_names_a_folder_too(folder: Path, run: Programs) -> None:
    ran = run("aamprep", "shard", folder / "study/table.biom", f"--output={folder / 'shards'}")
    assert ran.code == 2
    assert "exists already" in ran.err
    assert (folder / "shards").exists()


def test_recovery_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    recover(folder / "shards")
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("aam_schemas.common.publish", "WARNING")
    ]
    assert (folder / "shards").exists()


def test_programs_print_what_is_logged_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("aammodel.training")
    with messages_on_stderr():
        logger.info("sample %s", "a\x1b[31m")
        logger.debug("not shown")
        logging.getLogger("another.library").error("not ours")
    assert capsys.readouterr().err == "sample a\\x1b[31m\n"
    logger.info("nobody listens any more")
    assert capsys.readouterr().err == ""
    assert logging.getLogger("aammodel").handlers == []
