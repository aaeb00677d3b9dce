"""Every command of both programs, and surroundings in which users start them."""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.limited import environment
from tests.helpers.programs import command, run_program
from tests.helpers.published_checkpoints import written
from tests.helpers.shards import tiny_config
from tests.helpers.studies import random_counts, random_newick, random_sequences, write_table

CALLS = {
    "aamprep --help": "aamprep --help",
    "aamprep --version": "aamprep --version",
    "aamprep shard --help": "aamprep shard --help",
    "validate": "aamprep validate table.biom",
    "validate, json": "aamprep validate table.biom --json",
    "validate, invalid": "aamprep validate invalid/table.biom --no-tree",
    "validate, report": "aamprep validate table.biom --report OUT.html --findings OUT.parquet",
    "shard": "aamprep shard table.biom --output OUT",
    "shard, json": "aamprep shard table.biom --output OUT --json",
    "merge": "aamprep merge shards more --output OUT",
    "verify": "aamprep verify shards",
    "inspect": "aamprep inspect table.biom",
    "inspect, shards": "aamprep inspect shards",
    "limits": "aamprep limits table.biom",
    "root": "aamprep root tree.nwk --output OUT.nwk",
    "simulate": "aamprep simulate OUT --samples 20 --asvs 60",
    "aammodel --help": "aammodel --help",
    "aammodel pretrain --help": "aammodel pretrain --help",
    "pretrain": "aammodel pretrain shards --config tiny.toml --max-steps 2 --output OUT",
    "evaluate": "aammodel evaluate run shards --split train --output OUT",
    "evaluate, json": "aammodel evaluate run shards --split train --output OUT --json",
    "crossval": (
        "aammodel crossval shards --target site --metadata labels.tsv --method no_microbes --draws 5 "
        "--output OUT"
    ),
    "embed": "aammodel embed shards --model run --output OUT.parquet --plot",
    "embed, a table": "aammodel embed table.biom --model run --output OUT.tsv",
    "distances": "aammodel distances shards --output OUT.tsv",
    "compare": "aammodel compare run run --report OUT.html",
    "plan": "aammodel plan shards --config tiny.toml",
    "trace": "aammodel trace shards --config tiny.toml",
    "tune": "aammodel tune shards --config tiny.toml --steps 10 --memory 1GB --output OUT",
    "import": "aammodel import published.pt --output OUT",
}
"""Arguments of a call, by its name. OUT is a new path."""


@dataclass(frozen=True)
class Surrounding:
    """A way to start a program: a command of bash, in which "$@" is the call, and what it may lead to."""

    shell: str
    words: str = ""
    """Words of the error if this surrounding may end a program. Without them, none may."""


_CODE = "; exit ${PIPESTATUS[0]}"

SURROUNDINGS = {
    "ASCII": Surrounding('PYTHONIOENCODING=ascii "$@"'),
    "Latin 1": Surrounding('PYTHONIOENCODING=latin-1 "$@"'),
    "cp1252": Surrounding('PYTHONIOENCODING=cp1252 "$@"'),
    "no locale": Surrounding('LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 "$@"'),
    "into head": Surrounding('"$@" | head -1' + _CODE),
    "into a pipe without reader": Surrounding('"$@" | true' + _CODE),
    "all into a pipe without reader": Surrounding('"$@" 2>&1 | true' + _CODE),
    "unbuffered into head": Surrounding('PYTHONUNBUFFERED=1 "$@" | head -1' + _CODE),
    "stdin closed": Surrounding('"$@" <&-'),
    "stdout closed": Surrounding('"$@" >&-'),
    "stderr closed": Surrounding('"$@" 2>&-'),
    "all closed": Surrounding('"$@" <&- >&- 2>&-'),
    "stdout full": Surrounding('"$@" > /dev/full', "standard output: no more can be written"),
    "stderr full": Surrounding('"$@" 2> /dev/full'),
    "folder removed": Surrounding(
        'cd "$(mktemp -d)"; rmdir "$PWD"; "$@"', "the working folder cannot be accessed"
    ),
    "packages of another project": Surrounding(
        "folder=$(mktemp -d); mkdir $folder/schemas; touch $folder/schemas/{__init__,table,manifest}.py; "
        'PYTHONPATH=$folder:$PYTHONPATH "$@"; code=$?; rm -r $folder; exit $code'
    ),
    "no home": Surrounding('env -u HOME -u XDG_CACHE_HOME "$@"', "XDG_CACHE_HOME"),
    "home is no folder": Surrounding('env -u XDG_CACHE_HOME HOME=/dev/null "$@"', "XDG_CACHE_HOME"),
    "no TMPDIR": Surrounding('TMPDIR=/nonexistent "$@"', "temporary"),
    "TMPDIR is no folder": Surrounding('TMPDIR=/dev/null "$@"', "temporary"),
    "narrow": Surrounding('COLUMNS=1 "$@"'),
    "no columns": Surrounding('COLUMNS=0 "$@"'),
    "odd columns": Surrounding('COLUMNS=99999999 TERMINAL_WIDTH=x TERM= "$@"'),
    "colors": Surrounding('FORCE_COLOR=1 TERM=xterm "$@"'),
    "optimized": Surrounding('PYTHONOPTIMIZE=2 "$@"'),
    "warnings are errors": Surrounding('PYTHONWARNINGS=error "$@"'),
    "development mode": Surrounding('PYTHONDEVMODE=1 "$@"'),
    "3 GB of address space": Surrounding('ulimit -v 3000000; "$@"', "limit"),
    "1 GB of address space": Surrounding('ulimit -v 1000000; "$@"', "limit"),
    "16 open files": Surrounding('ulimit -n 16; "$@"', "ulimit -n"),
    "4 KiB of a file": Surrounding('ulimit -f 4; "$@"', "File too large"),
}


def start(
    name: str, surrounding: Surrounding, folder: Path, output: Path
) -> "subprocess.CompletedProcess[bytes]":
    """Run a call of `CALLS` in a folder and a surrounding. Its output begins with a path."""
    program, *arguments = shlex.split(CALLS[name])
    arguments = [argument.replace("OUT", str(output)) for argument in arguments]
    temporary = output.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "-c", surrounding.shell, "bash", *command(program), *arguments],
        cwd=folder,
        env=environment(temporary),
        capture_output=True,
        timeout=300,
        check=False,
    )


def write_study(folder: Path) -> None:
    """Write a table, an invalid one, a tree and metadata. Ids of samples are not ASCII."""
    sequences, ids = random_sequences(20), [f"\u03a0{number}" for number in range(12)]
    counts = random_counts(12, 20)
    write_table(folder, counts, sequences, ids)
    counts[4] = 0
    write_table(folder / "invalid", counts, sequences, ids)
    (folder / "tree.nwk").write_text(random_newick(sequences))
    rows = "".join(f"{name}\t4\n" for name in ids)
    (folder / "metadata.tsv").write_text(f"sample-id\tage\n{rows}", encoding="utf-8")


def write_results(folder: Path) -> None:
    """Write two shard sets, a configuration, a run and a published model beside a study."""
    other = write_table(folder / "other", random_counts(12, 20, seed=1), random_sequences(20))
    tiny_config(folder, "num_workers = 1\nbatch_size = 4\n")
    written(folder)
    labels = "".join(f"\u03a0{number}\t{'ab'[number % 2]}\n" for number in range(12))
    (folder / "labels.tsv").write_text(f"sample-id\tsite\n{labels}", encoding="utf-8")
    run_program("aamprep", "shard", "table.biom", "--output", "shards", folder=folder)
    run_program("aamprep", "shard", other, "--tree", "tree.nwk", "--output", "more", folder=folder)
    options = ("--config", "tiny.toml", "--max-steps", 2, "--output", "run")
    run_program("aammodel", "pretrain", "shards", *options, folder=folder)
