"""What a command says when it cannot do what it was asked: the message, the object and what to do about it."""


class CliError(Exception):
    """Printed as three short lines (or one JSON document); the process ends with ``exit_code``."""

    def __init__(self, message: str, *, object: str, hint: str, exit_code: int = 1) -> None:  # noqa: A002
        super().__init__(message)
        self.object = object
        self.hint = hint
        self.exit_code = exit_code
