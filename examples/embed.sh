#!/usr/bin/env bash
# Embed the samples of two simulated studies with a model that was trained on one of them, and draw them.
# Usage: bash examples/embed.sh [FOLDER]
set -euo pipefail
folder="${1:-embeddings}"
mkdir -p "$folder"
cd "$folder"

aamprep simulate study --samples 120 --asvs 300
aamprep simulate other --samples 60 --asvs 300 --seed 1
aamprep shard study/table.biom --token-limit 128 --rarefy-depth 1000
aammodel pretrain shards --max-steps 20 --batch-size 16
aammodel embed shards --model run --output study.parquet --color-by habitat
aammodel embed other/table.biom --model run --output other.parquet --color-by age
aammodel embed shards --model run --output asvs.tsv --asvs
# Look at study.png and other.png in the folder.
