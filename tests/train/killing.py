"""A run, killed after some step."""

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import os, signal, sys
from pathlib import Path
from aammodel.pretrain import begin_run, make_trainer, read_plan

run, step = Path(sys.argv[1]), int(sys.argv[2])
plan = read_plan(run)
begin_run(plan, run, overwrite=True)
trainer = make_trainer(plan, run, resume=False)
after_step = trainer._after_step

def kill_after_step():
    after_step()
    if trainer.progress.step == step:
        os.kill(os.getpid(), signal.SIGKILL)

trainer._after_step = kill_after_step
trainer.fit()
"""


def train_until(run_folder: Path, step: int) -> None:
    """Train a run anew, in a process of its own that is killed (SIGKILL) right after a step."""
    call = [sys.executable, "-c", _SCRIPT, str(run_folder), str(step)]
    ran = subprocess.run(call, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert ran.returncode == -9, ran.stderr
