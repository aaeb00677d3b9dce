"""`aammodel pretrain`: from a shard set, or a run that was stopped, to a trained model and its report."""

import json
from itertools import islice
from pathlib import Path

from aam_schemas.common.publish import published_folder
from aammodel.evaluation.distances import Prediction, predict_distances
from aammodel.reports.run_report import write_report
from aammodel.runs.config_file import CONFIG_FILE, read_config_of
from aammodel.runs.load import load_run
from aammodel.training.setup import Plan, validation_stream
from aammodel.training.trainer import Trainer


def begin_run(plan: Plan, run: Path, overwrite: bool) -> None:
    """Make the run's folder, with its configuration in it."""
    with published_folder(run, CONFIG_FILE, overwrite) as folder:
        content = json.dumps(plan.as_dict(), indent=2, ensure_ascii=False) + "\n"
        (folder / CONFIG_FILE).write_text(content, encoding="utf-8")


def finish_run(plan: Plan, trainer: Trainer) -> list[Prediction]:
    """Compare the best weights with the truth on the validation samples, and write the report."""
    model = load_run(trainer.run, trainer.device)
    stream = validation_stream(plan)
    samples = list(islice(stream.samples(), plan.train.validation_samples))
    predictions = predict_distances(model, plan.shards, samples, stream.token_limit)
    write_report(trainer.run, read_config_of(trainer.run), predictions)
    return predictions
