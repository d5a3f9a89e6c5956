"""Explains what is wrong with a document, slowly: by another XSD processor in readable words, and by what must agree within it (XSD 1.1).

`validate` is the fast verdict; this is for a document that failed it, or whose contents are asked for.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

import xmlschema
from lxml import etree

from onesim import limits, schemas
from onesim.data import data_dir
from onesim.validation import MAX_PROBLEMS, Problem, bounded, parse, parse_encoded, wrong_root

#: XPath looks for the parent of each snapshot among all: this many elements take some seconds.
MAX_ELEMENTS = 5_000


def explain(kind: str, version: str, xml: bytes) -> list[Problem]:
    """Return what is wrong with a document, at most 20 problems: first its form, and if that is right, what does not agree within it.

    `kind` is one of `kinds(version)` and `version` an exact release. Takes some milliseconds, and seconds for documents near 5000 elements; larger ones are
    not explained, which is a problem too. Raises SpecError if the release has no such document.
    """
    row = schemas.document(kind, version)
    root = parse_encoded(xml) if row.encoding == "base64" else parse(xml)
    if isinstance(root, Problem):
        return [root]
    if root.tag != row.root:
        return [wrong_root(root, row.root)]
    too_much = limits.excess(root, MAX_ELEMENTS)
    if too_much:
        return [Problem(root.sourceline or 1, f"/{root.tag!s}", f"the document has {too_much}", "leave out what no driver needs")]
    wrong = _found(form(schemas.schema_text(kind, version)), root)
    return wrong or _found(_checks(schemas.checks_text(kind, version)), root)


@cache
def form(text: str) -> xmlschema.XMLSchema10:
    """Return the compiled XSD 1.0 of a document: `text` is that of `schemas.schema_text`."""
    return xmlschema.XMLSchema10(text, base_url=str(data_dir("schemas")), allow="local")


@cache
def _checks(text: str) -> xmlschema.XMLSchema11:
    return xmlschema.XMLSchema11(text, base_url=str(data_dir("schemas")), allow="local")


def _found(schema: xmlschema.XMLSchema10 | xmlschema.XMLSchema11, root: etree._Element) -> list[Problem]:
    source: Any = root  # xmlschema takes elements of lxml too, which its types do not say
    return [_problem(error, root) for error in islice(schema.iter_errors(source), MAX_PROBLEMS)]


def _problem(error: xmlschema.XMLSchemaValidationError, root: etree._Element) -> Problem:
    line = getattr(error.elem, "sourceline", None) or 1
    path = error.path or f"/{root.tag!s}"
    annotation = getattr(error.validator, "annotation", None)
    if isinstance(error.validator, xmlschema.validators.XsdAssert) and annotation is not None:
        return bounded(line, path, f"{_text(annotation.documentation)} ({error.validator.id})", _text(annotation.appinfo))
    return bounded(line, path, (error.reason or error.message).strip(), "write what the schema wants there")


def _text(elements: list[etree._Element]) -> str:
    return " ".join("".join(element.itertext()).strip() for element in elements)
