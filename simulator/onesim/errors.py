"""The errors that are raised, sorted by whose fault they are.

What a driver under test does wrong is never an exception: it is a record in the history.
Every message is one line that names the thing, the place and the remedy.
"""

from __future__ import annotations


class OnetckError(Exception):
    """Base of all errors that end in one line for the user and a documented exit code."""


class SpecError(OnetckError):
    """Our own tables or schemas contradict each other, or a document that we made is invalid."""


class TraceError(OnetckError):
    """A trace that somebody gave us is malformed, or asks for what oned refuses to do."""


class ConfigError(OnetckError):
    """A path, an option or a configuration file given by the user is wrong."""


class HarnessError(OnetckError):
    """The harness or the machine failed: no verdict on the driver follows from it."""


class Lacking(HarnessError):
    """The machine, or what makes the hosts, cannot do what a case needs: what needs it is not tested. The message has the remedy."""
