"""oned's XML-RPC: requests as drivers send them and responses as oned gives them: success, value, error code; or a fault where the request itself is wrong.

The codes of faults are those of the library that oned is built with (xmlrpc-c, include/xmlrpc-c/base.h).
"""

from __future__ import annotations

import xmlrpc.client
from dataclasses import dataclass
from xml.parsers.expat import ExpatError

from onesim.events import Answer

_TYPE, _PARSE, _NO_METHOD = -501, -503, -506
#: Error codes of oned (include/RequestManager*.h): the object is not there; the request cannot be carried out; oned itself failed.
NO_EXISTS, ACTION, INTERNAL = 0x0400, 0x0800, 0x2000


@dataclass(frozen=True)
class Request:
    """A request: the method and its parameters after the session, which is nobody's business."""

    method: str
    parameters: tuple[object, ...]

    def number(self, at: int, default: int | None = None) -> int:
        """Return a whole number. Raises Wrong if another type stands there, or nothing where there is no default."""
        value = self.parameters[at] if at < len(self.parameters) else default
        if value is None:
            raise Wrong(fault(_TYPE, "Not enough parameters"))
        if not isinstance(value, int) or isinstance(value, bool):
            raise Wrong(fault(_TYPE, f"Value of type {type(value).__name__} supplied where type int was expected."))
        return value

    def text(self, at: int) -> str:
        """Return a text. Raises Wrong if there is none."""
        value = self.parameters[at] if at < len(self.parameters) else None
        if not isinstance(value, str):
            raise Wrong(fault(_TYPE, "Not enough parameters" if value is None else "Value supplied where type string was expected."))
        return value


class Wrong(Exception):
    """A request that cannot be read; `answer` is what oned says."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def read(body: bytes) -> Request:
    """Read the body of a request. Raises Wrong if it is none."""
    try:
        parameters, method = xmlrpc.client.loads(body)
    except (ExpatError, xmlrpc.client.Error, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise Wrong(fault(_PARSE, f"Call XML not a proper XML-RPC call. {error}")) from None
    return Request(str(method or ""), tuple(parameters[1:]))


def success(value: str | int) -> Answer:
    """Return the response of a request that was carried out."""
    return _response([True, value, 0], 0)


def failure(method: str, text: str, code: int) -> Answer:
    """Return the response of a request that oned refuses."""
    return _response([False, f"[{method}] {text}", code], 1)


def fault(code: int, text: str) -> Answer:
    """Return the response to what is no request."""
    return Answer(xmlrpc.client.dumps(xmlrpc.client.Fault(code, text), methodresponse=True).encode(), status=1)


def unknown(method: str) -> Answer:
    """Return the response to a method that oned does not have."""
    return fault(_NO_METHOD, f"Method '{method}' not defined")


def _response(values: list[bool | str | int], status: int) -> Answer:
    return Answer(xmlrpc.client.dumps((values,), methodresponse=True).encode(), status=status)
