"""The contract between `aamprep`, which writes shards, and `aammodel`, which reads them.

In the order in which data meets them: `vocabulary` (bases to token ids), `tables` (pandera: what a valid
sample is), `shards` (Arrow: how it lies on disk), `manifest` (what a folder holds), `publish` (how a folder
appears whole). `errors` and `command` are how both programs answer bad input.

Importing this package imports none of its modules, so the training path never meets pandera or polars.
"""
