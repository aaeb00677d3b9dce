"""Which versions of the tools made a run."""

import platform
from importlib.metadata import version


def tool_versions() -> dict[str, str]:
    """Give the version of each tool that numbers depend on."""
    tools = {tool: version(tool) for tool in ("aamprep", "torch", "numpy", "pyarrow")}
    return {"python": platform.python_version(), **tools}
