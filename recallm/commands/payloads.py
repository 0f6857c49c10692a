"""Shows a stored response as data: nothing that it names is imported, made or run."""

from __future__ import annotations

import base64
import json
from typing import NamedTuple

from recallm.records import REFUSAL

VERSION = b"\x01"


class View(NamedTuple):
    """A payload to look at.

    Attributes:
        kind: what the response is.
        data: it, as JSON can hold it; objects of one key that starts with ``$`` stand for values of other types.
    """

    kind: str
    data: object


def view(payload: bytes) -> View:
    r"""Return a payload as data.

    >>> view(b'\x01sHello')
    View(kind='text', data='Hello')
    >>> view(b'\x01t{"$t": [1, 2]}').kind
    'typed'
    """
    if payload == REFUSAL:
        return View("none", "This prompt was served a wrong answer (see wrong()): its own calls alone answer it.")
    body = payload[2:]
    try:
        if payload[:2] == VERSION + b"s":
            return View("text", body.decode("utf-8", "surrogatepass"))
        if payload[:2] == VERSION + b"j":
            return View("JSON", json.loads(body))
        if payload[:2] == VERSION + b"t":
            return View("typed", json.loads(body))
    except (ValueError, RecursionError):
        return View("unreadable", _encoded(payload))
    if payload[:2] == VERSION + b"b":
        return View("bytes", _encoded(body))
    return View("unreadable", _encoded(payload))


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
