"""The surroundings of a program change neither its verdict nor its exit code, or the error names them.

`python -m pytest tests/programs/test_surroundings.py -m long` runs every command in every surrounding.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import typer

from tests.helpers.limited import environment
from tests.helpers.programs import command
from tests.helpers.surroundings import CALLS, SURROUNDINGS, Surrounding, start, write_results, write_study

SAMPLE = [
    ("ASCII", "validate"),
    ("no locale", "validate, json"),
    ("into head", "validate"),
    ("all into a pipe without reader", "shard"),
    ("into a pipe without reader", "aammodel --help"),
    ("all closed", "validate, invalid"),
    ("stdout full", "validate, invalid"),
    ("folder removed", "limits"),
    ("packages of another project", "inspect"),
    ("warnings are errors", "simulate"),
    ("16 open files", "validate, invalid"),
]
"""Surroundings and calls that are always tried."""
ALONE = Surrounding('"$@"')


def is_in_sample(surrounding: str, call: str) -> bool:
    return (surrounding, call) in SAMPLE


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return folder


@pytest.fixture(scope="module")
def results(study: Path) -> None:
    write_results(study)


def needs_results(call: str) -> bool:
    return any(word in CALLS[call].split() for word in ("shards", "run", "published.pt"))


def code_of(call: str) -> int:
    return 1 if "invalid" in call else 0


@pytest.mark.parametrize(
    ("surrounding", "call"),
    [
        pytest.param(surrounding, call, marks=() if is_in_sample(surrounding, call) else pytest.mark.long)
        for surrounding, call in product(SURROUNDINGS, CALLS)
    ],
)
def test_a_surrounding_changes_no_verdict_or_is_named(
    surrounding: str, call: str, study: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if needs_results(call):
        request.getfixturevalue("results")
    ran = start(call, SURROUNDINGS[surrounding], study, tmp_path / "out")
    err = ran.stderr.decode()
    if ran.returncode != code_of(call):
        assert ran.returncode == 2, err
        words = SURROUNDINGS[surrounding].words
        assert words, err
        assert words in " ".join(err.split())
    assert not {"Traceback", "Exception ignored", "Warning"} & {word.strip(":") for word in err.split()}
    assert b"error reader-crashed" not in ran.stdout


@pytest.mark.parametrize("program", ["aamprep", "aammodel"])
def test_every_command_is_tried(program: str) -> None:
    app = importlib.import_module(f"{program}.cli").app
    for name in typer.main.get_command(app).commands:
        assert any(call.startswith(f"{program} {name} ") for call in CALLS.values()), name


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.long)])
def test_characters_that_a_stream_cannot_show_are_escaped(study: Path, tmp_path: Path, encoding: str) -> None:
    surrounding = Surrounding(f'PYTHONIOENCODING={encoding} "$@"')
    ran = start("validate, invalid", surrounding, study, tmp_path / "out")
    assert ran.returncode == 1
    assert "sample \\u03a04" in ran.stdout.decode(encoding)


@pytest.mark.long
def test_json_is_the_same_document_in_ascii(study: Path, tmp_path: Path) -> None:
    documents = [
        json.loads(start("validate, json", surrounding, study, tmp_path / "out").stdout)
        for surrounding in (ALONE, SURROUNDINGS["ASCII"])
    ]
    assert documents[0] == documents[1]


def test_names_of_files_are_utf8_without_a_locale(study: Path, tmp_path: Path) -> None:
    table = tmp_path / "\u03c0.biom"
    table.write_bytes((study / "invalid" / "table.biom").read_bytes())
    shell = f"{SURROUNDINGS['no locale'].shell} {table} --no-tree --json"
    ran = start("aamprep --version", Surrounding(shell.replace('"$@"', '"${@:1:3}" validate')), study, table)
    assert ran.returncode == 1, ran.stderr
    assert json.loads(ran.stdout)["facts"]["inputs"][0]["name"] == str(table)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_ends_a_program_with_one_line(number: signal.Signals, study: Path, tmp_path: Path) -> None:
    (tmp_path / "deep.nwk").write_text("(" * 1_000_000 + "a" + ")" * 1_000_000 + ";")
    call = [*command("aamprep"), "validate", "table.biom", "--tree", str(tmp_path / "deep.nwk")]
    process = subprocess.Popen(
        call, cwd=study, env=environment(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("reading")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", f"aamprep: stopped by {number.name}\n")
    assert os.listdir(tmp_path) == ["deep.nwk"]


def test_ctrl_c_when_the_work_is_done_prints_nothing(tmp_path: Path) -> None:
    late = "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))"
    call = [sys.executable, "-c", f"{late}; from aamprep.cli import main; main()", "--version"]
    ran = subprocess.run(call, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, "")


def test_what_libraries_log_is_not_shown(study: Path, tmp_path: Path) -> None:
    call = [*command("aamprep"), "validate", "table.biom", "--report", str(tmp_path / "report.html")]
    # matplotlib warns if its folder cannot be made.
    env = environment(tmp_path) | {"HOME": "/dev/null", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    ran = subprocess.run(call, cwd=study, env=env, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["reading", "wrote"], lines


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
@pytest.mark.parametrize("call", CALLS)
def test_a_signal_at_any_time_leads_to_no_traceback(
    call: str, number: signal.Signals, study: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if needs_results(call):
        request.getfixturevalue("results")
    for seconds in (1.0, 3.0, 7.0):
        # Before a second has passed, Python itself is being started.
        shell = f'timeout --signal={number.name[3:]} {seconds} "$@"'
        ran = start(call, Surrounding(shell + "; code=$?; exit $code"), study, tmp_path / f"out-{seconds}")
        err = ran.stderr.decode()
        assert ran.returncode in (124, code_of(call)), err
        assert "Traceback" not in err
        assert "internal error" not in err
