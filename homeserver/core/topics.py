"""What a room's topic is in plain text.

Spec: https://spec.matrix.org/v1.19/client-server-api/#mroomtopic
"""

from collections.abc import Mapping, Sequence
from typing import Any


def plain_topic(content: Mapping[str, Any]) -> str:
    """The `text/plain` representation of the topic where it has representations, else `topic`; empty where that is no text."""
    block = content.get("m.topic")
    texts = block.get("m.text") if isinstance(block, Mapping) else None
    for text in texts if isinstance(texts, Sequence) and not isinstance(texts, str) else ():
        # "Text in plain text (`text/plain`) when no mimetype is given."
        if isinstance(text, Mapping) and text.get("mimetype", "text/plain") == "text/plain":
            return _text(text.get("body"))
    return _text(content.get("topic"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
