"""The error for a wrong argument: Python callers read the parameter, users of the commands the option."""

from aam_schemas.common.errors import UsageError


class ParameterError(UsageError):
    """An argument is wrong. `where` names the Python parameter; the commands name their option instead.

    Parameters
    ----------
    what : str
        What is wrong.
    parameter : str
        The Python parameter.
    fix : str
        What to do about it.
    value : str
        The part of the argument that is wrong, where it is one of several.
    """

    def __init__(self, what: str, parameter: str, fix: str, value: str = "") -> None:
        super().__init__(what, f"{parameter} {value}".rstrip(), fix)
        self.parameter = parameter
        self.value = value

    def as_option(self) -> UsageError:
        """Return the same error with the option of the command in place of the parameter."""
        option = f"--{self.parameter.replace('_', '-')}"
        return UsageError(self.what, f"{option} {self.value}".rstrip(), self.fix)
