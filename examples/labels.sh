#!/usr/bin/env bash
# Predict metadata columns of a simulated study: a habitat, which the communities depend on, and an age.
# Usage: bash examples/labels.sh [FOLDER]
set -euo pipefail
folder="${1:-labels}"
mkdir -p "$folder"
cd "$folder"

aamprep simulate study --samples 120 --asvs 300
aamprep shard study/table.biom --token-limit 128 --rarefy-depth 1000
aammodel pretrain shards --max-steps 20 --batch-size 16
aammodel crossval shards --target habitat --target age --from run
# Open target-habitat/report.html and target-age/report.html in the folder crossval.
