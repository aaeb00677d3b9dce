"""The error for an invalid argument. It names the Python parameter or the option of the command."""

from aam_schemas.common.errors import UsageError


class ParameterError(UsageError):
    """Invalid argument. `where` names the Python parameter, and the commands name their option instead.

    Parameters
    ----------
    what : str
        What is wrong.
    parameter : str
        Name of the Python parameter.
    fix : str
        What to do.
    value : str
        Invalid part of the argument, such as a path.
    """

    def __init__(self, what: str, parameter: str, fix: str, value: str = "") -> None:
        super().__init__(what, f"{parameter} {value}".rstrip(), fix)
        self.parameter = parameter
        self.value = value

    def as_option(self) -> UsageError:
        """Return the same error with the option of the command in place of the parameter."""
        option = f"--{self.parameter.replace('_', '-')}"
        return UsageError(self.what, f"{option} {self.value}".rstrip(), self.fix)
