#!/usr/bin/env bash
# Run every command of both programs once, on a small simulated study, in a new folder.
# `.ci/bounds` runs it with the oldest and the newest versions of the dependencies. Usage: every_command.sh FOLDER
set -euo pipefail
repository="$(cd "$(dirname "$0")/../.." && pwd)"
mkdir "$1"
cd "$1"

cat > tiny.toml <<'TOML'
[model]
width = 32
asv_layers = 1
sample_layers = 1
soft_branches = 64

[train]
batch_size = 8
max_steps = 4
num_workers = 2
TOML

run() {
  printf '+ %s\n' "$*"
  "$@" > output.log 2>&1 || { code=$?; cat output.log; printf 'exit code %s\n' "$code"; exit 1; }
}

run aamprep simulate study --samples 60 --asvs 200
run aamprep root study/tree.nwk --output rooted.nwk
run aamprep inspect study/table.biom
run aamprep limits study/table.biom
run aamprep validate study/table.biom --report report.html --findings findings.parquet
run aamprep shard study/table.biom --token-limit 32 --rarefy-depth 500
run aamprep verify shards
run aamprep inspect shards
run aamprep simulate other --samples 40 --asvs 200 --seed 1
run aamprep shard other/table.biom --token-limit 32 --output other-shards
run aamprep merge shards other-shards --prefix-samples --output merged

run aammodel plan shards --config tiny.toml
run aammodel pretrain shards --config tiny.toml --max-steps 2
run aammodel pretrain --resume run --max-steps 4 --allow-changes
run aammodel evaluate run shards --split train
run aammodel compare run run --report compare.html
run aammodel distances shards --output unweighted.tsv
run aammodel distances shards --output weighted.h5 --metric weighted_unifrac
run aammodel distances shards --output faith.tsv --metric faith_pd
run aammodel embed shards --model run --output samples.parquet --color-by habitat
run aammodel embed other/table.biom --model run --output samples.tsv
run aammodel embed shards --model run --output asvs.tsv --asvs
run aammodel embed shards --model run --output asvs-in-samples.parquet --asvs-in-samples
run aammodel crossval shards --target habitat --target age --from run --draws 20
run aammodel trace shards --config tiny.toml
run aammodel tune shards --config tiny.toml --steps 10 --memory 1GB
run env PYTHONPATH="$repository" python -c "
from pathlib import Path
from tests.helpers.published_checkpoints import written
written(Path('.'))"
run aammodel import published.pt --output imported

run python -c "
import aammodel
import aamprep
report = aamprep.validate('study/table.biom')
model = aammodel.load('run')
embeddings = model.embed('study/table.biom')
print(report.is_valid, embeddings)"
printf 'every command ran\n'
