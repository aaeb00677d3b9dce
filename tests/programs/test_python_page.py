"""The Python examples of pages and the notebook run as written, on simulated studies, with fewer steps."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import aammodel
import aamprep
from tests.helpers.paths import ROOT

EXAMPLE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    aamprep.simulate(folder / "study", samples=40, asvs=60)
    for name in ("table.biom", "tree.nwk"):
        shutil.copy(folder / "study" / name, folder / name)
    shutil.copy(folder / "table.biom", folder / "new-table.biom")
    _, *rows = (folder / "study" / "metadata.tsv").read_text(encoding="utf-8").splitlines()
    columns = ["sample-id\tbody_site\tage\thost_subject_id"]
    columns += [f"{row}\tsubject-{number // 3}" for number, row in enumerate(rows)]
    (folder / "metadata.tsv").write_text("\n".join(columns), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def labelled(folder: Path) -> None:
    """Write shards with labels and a run, which the page on labels begins from."""
    aamprep.shard(
        folder / "table.biom", metadata=folder / "metadata.tsv", output=folder / "shards", overwrite=True
    )
    aammodel.pretrain(folder / "shards", output=folder / "run", max_steps=1, overwrite=True)


def test_examples_of_labels_run(labelled: None, folder: Path) -> None:
    examples = "\n".join(EXAMPLE.findall((ROOT / "docs" / "labels.md").read_text(encoding="utf-8")))
    code = examples.replace("ExtraTreesClassifier(300", "ExtraTreesClassifier(10")
    code = code.replace('group_by="host_subject_id")', 'group_by="host_subject_id", methods=["extra_trees"])')
    script = f"import warnings; warnings.simplefilter('error')\n{code}\nassert 'my_run' in result.scores"
    ran = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_examples_run(page: str, folder: Path) -> None:
    """All examples of a page, one after the other, in one interpreter."""
    examples = EXAMPLE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert examples
    code = re.sub(r"max_steps=\d+", "max_steps=2", "\n".join(examples))
    for written in ("shards", "run", "small-run"):
        # Every page begins in a folder without output.
        shutil.rmtree(folder / written, ignore_errors=True)
        code = code.replace(f'output="{written}"', f'output="{written}", overwrite=True')
    script = "import warnings; warnings.simplefilter('error')\n" + code
    ran = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = re.sub(r"max_steps=\d+", "max_steps=2", cell.source).replace(
            "samples=200", "samples=60"
        )
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = {
        kind for cell in notebook.cells for each in cell.get("outputs", []) for kind in each.get("data", {})
    }
    assert {"text/html", "image/png"} <= kinds
