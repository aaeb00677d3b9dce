"""Public names of a package that are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

DISTRIBUTION = "aamprep"
"""Name of the distribution that installs both programs."""


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
            # Imported only here, since it takes longer than everything else in the package.
            from importlib.metadata import version

            value: Any = version(DISTRIBUTION)
        elif name in modules:
            module, _, original = modules[name].partition(":")
            value = getattr(import_module(module), original or name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # Python calls `__getattr__` only for missing names, so the next use is an ordinary lookup.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules, "__version__"})

    return get, names
