"""Words of other servers, for the terminal: what could command it is shown as what it is."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with control characters, line ends and such escaped, as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
