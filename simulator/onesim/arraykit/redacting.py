"""Keeps passwords, tokens and keys off tapes: what is secret by its name, as `spec/secrets.toml` has it, and the same values elsewhere in an exchange.

Standard library only, as the rest of the kit is: labs have no more.
"""

from __future__ import annotations

import json
import pkgutil
import re
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

MARK = "REDACTED-"
#: A value shorter than this is replaced behind its name alone.
_SHORTEST = 6
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)", re.IGNORECASE)


def tables() -> dict[str, Any]:
    """Return the table of secrets: the one that is packed beside this file, else the one of the installation."""
    try:
        packed = pkgutil.get_data("onesim.arraykit", "secrets.toml")
    except OSError:
        packed = None
    if packed is None:
        from onesim.data import data_dir  # not there where this is packed

        packed = (data_dir("spec") / "secrets.toml").read_bytes()
    return tomllib.loads(packed.decode())


class Secrets:
    """Strikes secrets out of requests and answers; a value that was struck out once is so wherever it stands later."""

    def __init__(self) -> None:
        rows = tables()
        self._rows, self._except, self._options = rows["attribute"] + rows["header"], rows["except"], rows["option"]
        names = "|".join(re.escape(name).replace(r"\*", r"[\w.-]*") for name in self._rows)
        self._assigned = re.compile(rf"""(?<![\w.-])({names})(["']?\s*(?:=|:(?!//))\s*["']?)((?:(?:Bearer|Basic) )?[^\s,;&"'}}<>]+)""", re.IGNORECASE)
        self._element = re.compile(rf"<({names})>()([^<]+)(?=<)", re.IGNORECASE)
        self._known: dict[str, str] = {}

    def secret(self, name: str) -> bool:
        """Whether what has this name is a secret."""
        upper = name.upper()
        return any(fnmatchcase(upper, row.upper()) for row in self._rows) and not any(fnmatchcase(upper, row) for row in self._except)

    def _struck(self, name: str, value: str) -> str:
        if not value or value.startswith((MARK, "$")):
            return value
        word = f"{MARK}{name.strip('-')}"
        if len(value) >= _SHORTEST:
            self._known[value] = word
        return word

    def text(self, text: str) -> str:
        """Return a text without what stands behind the name of a secret, and without values that are known."""

        def strike(found: re.Match[str]) -> str:
            name, _, value = found.groups()
            if not self.secret(name):
                return found.group()
            return found.group()[: -len(value)] + self._struck(name, value)

        text = _USERINFO.sub(lambda found: found[1] + self._struck("userinfo", found[2]), text)
        return self._without(self._element.sub(strike, self._assigned.sub(strike, text)))

    def _without(self, text: str) -> str:
        for value, word in sorted(self._known.items(), key=lambda one: -len(one[0])):
            text = text.replace(value, word)
        return text

    def content(self, held: dict[str, str]) -> dict[str, str]:
        """Return what was read or written without secrets, JSON by its keys; bytes that are no text as they are."""
        if "text" not in held:
            return held
        try:
            value = json.loads(held["text"])
        except ValueError:
            return {"text": self.text(held["text"])}
        clean = self._walked(value)
        return held if clean == value else {"text": json.dumps(clean, separators=(",", ":"))}

    def _walked(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self._walked(one, key) for key, one in value.items()}
        if isinstance(value, list):
            return [self._walked(one, name) for one in value]
        if name and self.secret(name) and isinstance(value, str | int | float) and not isinstance(value, bool):
            return self._struck(name, str(value))
        return self.text(value) if isinstance(value, str) else value

    def argv(self, words: Sequence[str]) -> list[str]:
        """Return the words of a command line without secrets."""
        options = [row for row in self._options if "*" in row["commands"] or words[0] in row["commands"]]
        clean: list[str] = []
        behind: tuple[str, str] | None = None
        for word in words:
            if behind is not None:
                word, behind = self._behind(word, *behind), None
            else:
                for row in options:
                    for name in row["names"]:
                        after = row.get("after", "")
                        if word == name:
                            behind = name, after
                        elif word.startswith(f"{name}="):
                            word = f"{name}={self._behind(word[len(name) + 1 :], name, after)}"
                        elif row.get("glued") and not name.startswith("--") and word.startswith(name):
                            word = name + self._behind(word[len(name) :], name, after)
            clean.append(self.text(word))
        return clean

    def _behind(self, value: str, name: str, after: str) -> str:
        kept, mark, rest = value.partition(after) if after else ("", "", value)
        return kept + mark + self._struck(name, rest)

    def exchange(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an exchange as it goes on the tape; its request has lost its secrets already, but for values that only the answer names."""
        answer = dict(row["answer"])
        for key, value in answer.items():
            if key == "headers":
                answer[key] = {name: self._struck(name, one) if self.secret(name) else self.text(one) for name, one in value.items()}
            elif isinstance(value, dict):
                answer[key] = self.content(value)
        clean: dict[str, Any] = self._all({"request": row["request"], "answer": answer})
        return clean

    def _all(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._all(one) for key, one in value.items()}
        return self._without(value) if isinstance(value, str) else value
