"""Public names of a package that are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

DISTRIBUTION = "aamprep"
"""The name under which both programs are installed."""


def lazy_exports(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package.

    Parameters
    ----------
    package : str
        Name of the package.
    modules : mapping of str to str
        The module of each public name. A name may be written as `module:name` if it is called differently
        there. The package has a `__version__`, too.
    """

    def get(name: str) -> Any:
        if name == "__version__":
            # It takes longer to load than everything else here.
            from importlib.metadata import version

            value: Any = version(DISTRIBUTION)
        elif name in modules:
            module, _, original = modules[name].partition(":")
            value = getattr(import_module(module), original or name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # The next use finds the name without this function.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules, "__version__"})

    return get, names
