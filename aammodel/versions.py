"""Which versions of the tools, and which machine, made a run."""

import os
import platform
from importlib.metadata import version

import torch


def tool_versions() -> dict[str, str]:
    """Give the version of each tool that numbers depend on."""
    tools = {tool: version(tool) for tool in ("aamprep", "torch", "numpy", "pyarrow")}
    return {"python": platform.python_version(), **tools}


def machine() -> dict[str, str | int]:
    """Say what a run computes on, which decides its speed and its last bits."""
    found: dict[str, str | int] = {"system": platform.platform(), "cpus": os.cpu_count() or 1}
    found["threads"] = torch.get_num_threads()
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found
