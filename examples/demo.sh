#!/usr/bin/env bash
# The whole workflow on simulated data: simulate a study, validate it, write shards, train a model and plot the results.
# Takes a few minutes on two cores. All output is in demo/.
set -euo pipefail

rm -rf demo
aamprep simulate demo --samples 200 --asvs 600
cd demo

aamprep validate table.biom
aamprep shard --token-limit 64 --rarefy-depth 2000
aammodel pretrain shards/ --config ../examples/demo.toml

echo
echo "Open demo/run/report.html. The plots losses.png and unweighted_unifrac.png are beside it."
