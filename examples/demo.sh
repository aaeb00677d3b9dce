#!/usr/bin/env bash
# The whole way, on simulated data: a study, its validation, its shards, a trained model and its pictures.
# Takes a few minutes on two cores. Everything lands in demo/.
set -euo pipefail

rm -rf demo
aamprep simulate demo --samples 200 --asvs 600
cd demo

aamprep validate table.biom
aamprep shard --token-limit 64 --rarefy-depth 2000
aammodel pretrain shards/ --config ../examples/demo.toml

echo
echo "Look at demo/run/report.html (or at losses.png and unweighted_unifrac.png beside it)."
