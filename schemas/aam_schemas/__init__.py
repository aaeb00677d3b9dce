"""The contract between `aamprep`, which writes shards, and `aammodel`, which reads them.

In the order in which data meet them: `vocabulary` (bases to token ids), `tables` (what a valid sample is, as
pandera schemas), `shards` (Arrow schemas of the files; `FORMAT_VERSION`), `manifest` (what a folder holds),
`preparation` (how a model's samples were prepared). `common` holds what both programs share and is no part of
the contract: errors, publishing of folders, exit codes, text and HTML.

Importing this package imports none of its modules, so the training path never meets pandera or polars. It has
no version of its own: it is installed with `aamprep` and `aammodel`, and shards carry `FORMAT_VERSION`.
"""
