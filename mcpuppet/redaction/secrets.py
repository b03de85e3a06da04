"""Secrets that must not be written anywhere: found in text, and replaced for good.

Owns what counts as a secret: values that the settings give to servers, and texts that are built
like a well-known kind of key. What is found becomes a mark such as `[secret:aws-key]`; nothing is
kept of it. Everything runs under RE2, so no text can make it slow.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import re2

from mcpuppet.gateway.server_settings import ServerSettings

SHORTEST_NAMED = 6
"""Characters of a value that its name says is a secret."""
SHORTEST_UNNAMED = 16
"""Characters of a value that is taken for a secret by its looks."""
_MOST_HIDDEN_LINES = 200
"""Lines of a private key that are left out, at most, if its end is never seen."""

_SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PWD|CREDENTIAL|AUTH|PRIVATE|DSN", re.IGNORECASE
)
_PATH_NAME = re.compile(r"^(OLD)?PWD$|(_SOCK|_FILE|_PATH|_DIR|_CREDENTIALS)$", re.IGNORECASE)
_PATH = re.compile(r"(~?/|\.{1,2}/|[A-Za-z]:\\)")
_COMMON = frozenset(
    {
        *("default", "disable", "disabled", "enable", "enabled", "false", "optional", "required"),
        *("production", "staging", "development", "public", "private", "bearer", "oauth2"),
    }
)
_PEM_BEGIN = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
_PEM_END = r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"

# Before `sk-` no letter may stand: `task-`, `disk-` and `risk-` are words.
_KINDS: Mapping[str, str] = {
    "private-key": rf"(?s:{_PEM_BEGIN}.*?(?:{_PEM_END}|\z))",
    "mcpuppet-token": r"mcpp_[A-Za-z0-9_-]{40,}",
    "aws-key": r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    "github-token": r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}",
    "gitlab-token": r"glpat-[A-Za-z0-9_-]{20,}",
    "slack-token": r"xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{20,}",
    "stripe-key": r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "google-key": r"AIza[0-9A-Za-z_-]{35}",
    "jwt": r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    "ai-key": r"sk-[A-Za-z0-9]{32,}|sk-(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_-]{24,}",
}
_AFTER_NO_LETTER = frozenset({"ai-key"})


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that a server is given; `name` is what the mark says in its place."""

    name: str
    value: str


def secrets_of(servers: Iterable[ServerSettings]) -> tuple[Secret, ...]:
    """The secrets among what the settings give to servers."""
    found: dict[str, str] = {}
    for server in servers:
        for name, value in (*server.env.items(), *_flags(server.args)):
            for one in _secret_parts(name, value):
                found.setdefault(one, name)
    return tuple(Secret(name, value) for value, name in found.items())


def _flags(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The options of a command line that have a value: `--token=…` and `--token …`."""
    before = ""
    for one in args:
        name, equals, value = one.partition("=")
        if one.startswith("-") and equals:
            yield name.lstrip("-"), value
        elif before and not one.startswith("-"):
            yield before.lstrip("-"), one
        before = one if one.startswith("-") and not equals else ""


def _secret_parts(name: str, value: str) -> Iterator[str]:
    """The value, if it is a secret, and its lines or its password, where those are."""
    password = _password(value)
    if password is not None:
        yield value
        yield from {one for one in (password, unquote(password)) if len(one) >= SHORTEST_NAMED}
    elif _is_secret(name, value):
        yield value
        lines = value.splitlines()
        yield from (one.strip() for one in lines[1:-1] if len(one.strip()) >= SHORTEST_UNNAMED)


def _is_secret(name: str, value: str) -> bool:
    if value.lower() in _COMMON or value.isspace():
        return False
    if _PATH_NAME.search(name) and _PATH.match(value):
        return False
    if _SECRET_NAME.search(name):
        return len(value) >= SHORTEST_NAMED
    return _looks_random(value)


def _looks_random(value: str) -> bool:
    """Whether a value has the variety of a key and nothing of a path, an address or a sentence."""
    if len(value) < SHORTEST_UNNAMED or _PATH.match(value) or any(map(str.isspace, value)):
        return False
    if "://" in value or ":/" in value:
        return False
    kinds = (any(map(str.isdigit, value)), any(map(str.isalpha, value)))
    return all(kinds) and len(set(value)) >= 10


def _password(value: str) -> str | None:
    """The password in an address, if it is one with a password."""
    if "://" not in value or "@" not in value:
        return None
    try:
        return urlsplit(value).password
    except ValueError:
        return None


class Scrubber:
    """Replaces the given secrets, and what is built like a well-known key, in texts and in data."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        spelled = {text: one.name for one in secrets for text in _spellings(one.value)}
        self._literals = sorted(
            ((text.encode("utf-8", "surrogatepass"), name) for text, name in spelled.items()),
            key=lambda pair: -len(pair[0]),
        )
        wanted = [*_KINDS.values(), *(re2.escape(_in_json(text)) for text in spelled)]
        self._quick = re2.compile("|".join(wanted).encode("utf-8", "replace"), _options())

    def suspects(self, text: str) -> bool:
        """Whether the ASCII JSON of some data may hold a secret; it need not hold one after all."""
        return self._quick.search(text.encode("ascii", "replace")) is not None

    def text(self, content: str) -> str:
        """The text with a mark in the place of each secret."""
        data = content.encode("utf-8", "surrogatepass")
        for literal, name in self._literals:
            if literal in data:
                data = data.replace(literal, f"[secret:{name}]".encode())
        for name, pattern in _PATTERNS:
            data = pattern.sub(_marked(name), data)
        return data.decode("utf-8", "surrogatepass")

    def data(self, content: Any) -> Any:
        """JSON data with a mark in the place of each secret, in keys as well as in values."""
        if isinstance(content, str):
            return self.text(content)
        if isinstance(content, Mapping):
            return {
                self.text(name) if isinstance(name, str) else name: self.data(one)
                for name, one in content.items()
            }
        if isinstance(content, (list, tuple)):
            return type(content)(self.data(one) for one in content)
        return content


class LineScrubber:
    """Scrubs text that comes line by line: a private key is left out to its end."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._left_out = 0
        self._inside = False

    def line(self, content: str) -> str:
        """The next line, scrubbed; empty for a line of a private key."""
        if self._inside and self._left_out < _MOST_HIDDEN_LINES:
            self._left_out += 1
            end = _END.search(content)
            if end is None:
                return ""
            self._inside = False
            return self._scrubber.text(content[end.end() :])
        opened = _BEGIN.search(content)
        self._inside = opened is not None and _END.search(content, opened.end()) is None
        self._left_out = 0
        return self._scrubber.text(content)


def _spellings(value: str) -> Iterator[str]:
    """How programs write a value: as it is, inside quotes, in an address, in base 64."""
    data = value.encode("utf-8", "surrogatepass")
    yield from (value, _in_json(value), json.dumps(value, ensure_ascii=False)[1:-1])
    yield repr(value)[1:-1]
    yield quote(data, safe="")
    for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
        yield encoded.decode().rstrip("=")


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _marked(name: str) -> Callable[[Any], bytes]:
    mark = f"[secret:{name}]".encode()
    if name not in _AFTER_NO_LETTER:
        return lambda _: mark
    return lambda match: bytes(match.group(1)) + mark


def _options(*, captures: bool = False) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes in, bytes out
    options.log_errors = False  # the library would write to standard error
    options.never_capture = not captures
    return options


def _pattern(name: str, source: str) -> Any:
    if name not in _AFTER_NO_LETTER:
        return re2.compile(source.encode(), _options())
    # The letter of an escape such as \n in JSON inside a text is no letter of a word.
    before = rf"(^|[^A-Za-z0-9]|\\[nrtbf])(?:{source})"
    return re2.compile(before.encode(), _options(captures=True))


_PATTERNS = tuple((name, _pattern(name, source)) for name, source in _KINDS.items())
_BEGIN = re.compile(_PEM_BEGIN)
_END = re.compile(_PEM_END)

KNOWN_KEYS = Scrubber()
"""Finds well-known keys, and no secret of any settings."""
