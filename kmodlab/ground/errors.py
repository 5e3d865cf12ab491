"""The one exception that a person is meant to read."""


class LabError(Exception):
    """The lab cannot do its work, or was misused: exit status 2.

    `what` names the thing at fault, `hint` says what mends it. Together they are one line, and that is what everybody shows.
    """

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what
