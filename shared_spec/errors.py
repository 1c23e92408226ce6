"""What a user can have done wrong, and that judging was not possible. The command lines print these in one line, and
exit with 2 or 3.
"""


class UserError(Exception):
    """The input or the request was wrong: the message names the thing, the place and the remedy."""


class SpecificationError(UserError):
    """An equation or a table of the specification cannot be read."""


class InterchangeError(UserError):
    """A file is not there, damaged, incomplete, of a newer format, or holds what it must not."""


class CorpusError(UserError):
    """A text is not what it should be, or too short for the windows asked for."""


class UnjudgedError(Exception):
    """The judging itself could not be done, and why."""
