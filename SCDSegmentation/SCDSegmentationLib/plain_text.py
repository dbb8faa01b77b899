"""Text from outside where Qt would take it for mark-up."""

from __future__ import annotations

from html import escape


def plain(text: str) -> str:
    """Text for a tool tip or a message box, which show it as it is.

    Both guess whether a text is HTML. The name of a volume or the description of a model could then load a picture, on
    Windows from a server that would be told the user's password hash. Labels need none of this: their format is plain.

    Args:
        text: that may hold names from outside.
    """
    # Without these signs Qt's mightBeRichText never takes a text for mark-up, and it may stay as it is.
    if "<" not in text and "&lt;" not in text:
        return text
    return f"<qt>{escape(text).replace(chr(10), '<br>')}</qt>"
