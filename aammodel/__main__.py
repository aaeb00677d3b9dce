"""Run `aammodel` as `python -m aammodel`."""

from aammodel.cli import main

if __name__ == "__main__":
    main()
