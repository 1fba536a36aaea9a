"""What new rows do to those that are there, and what a changed file means."""

from enum import StrEnum


class LoadMode(StrEnum):
    """What new rows do to those that silver has."""

    REPLACE = "replace"
    """Silver is what lies in landing."""
    APPEND = "append"
    """The rows of each new file come behind those that are there."""
    MERGE = "merge"
    """A row of a new file takes the place of the one with its key; others come behind."""


class ChangedFiles(StrEnum):
    """What a file means that comes again under its name with other content, in `append` and `merge`."""

    CORRECT = "correct"
    """It takes the place of what came under its name before."""
    ADD = "add"
    """It is a new file; what came before stays."""
