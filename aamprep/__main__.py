"""Run `aamprep` as `python -m aamprep`."""

from aamprep.cli import main

if __name__ == "__main__":
    main()
