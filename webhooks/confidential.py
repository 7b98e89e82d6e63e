"""Texts that must not be shown by accident."""


class Confidential(str):
    """A secret in the clear: no repr shows it, and so no traceback with its local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<confidential>"
