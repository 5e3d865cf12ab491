"""The one exception that a person is meant to read."""


class LabError(Exception):
    """The lab cannot do its work, or was misused: exit status 2.

    The message is one line that names the thing at fault and says what mends it.
    """
