"""Which calls each policy limits, worked out once per file for all checks that ask.

A `call` of a policy names a step, a tool, a set of tools, or a pattern. This module knows where
such a word reaches; it yields no finding.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from fnmatch import fnmatchcase

from mcpuppet.workflow.definition import Definition, Policy, expand_sets

_GLOB = frozenset("*?[")
_MOST_COMPARISONS = 200_000
"""Patterns compared with patterns are quadratic; past this number nothing is claimed any more."""
_LAST = chr(0x10FFFF)


class Coverage:
    """The calls of a file, and the policies on each."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._words: dict[str, list[int]] = {}
        self._patterns: dict[str, list[tuple[int, str]]] = {}
        self._by_tool: dict[str, frozenset[int]] = {}
        self._reaches: dict[str, bool] = {}
        self._comparisons_left = _MOST_COMPARISONS
        self.tools = tools_of(definition)
        """The tools, and the patterns of tools, that the file lets be called."""
        self._names = sorted(one for one in self.tools if not is_pattern(one))
        self._listed_patterns = tuple(one for one in self.tools if is_pattern(one))
        for index, policy in enumerate(definition.policies):
            for word in expand_sets(policy.call, definition.tools.sets):
                if is_pattern(word):
                    self._patterns.setdefault(_plain_start(word), []).append((index, word))
                else:
                    self._words.setdefault(word, []).append(index)

    def policies_on(self, step: str | None, tool: str) -> list[tuple[int, Policy]]:
        """The policies that limit a call of `tool`, as `step` if given, with their indexes."""
        found = set(self._on_tool(tool))
        if step is not None:
            found.update(self._words.get(step, ()))
        return [(index, self._definition.policies[index]) for index in sorted(found)]

    def _on_tool(self, tool: str) -> frozenset[int]:
        known = self._by_tool.get(tool)
        if known is None:
            by_pattern = {index for index, one in self._candidates(tool) if fnmatchcase(tool, one)}
            known = self._by_tool[tool] = frozenset(by_pattern.union(self._words.get(tool, ())))
        return known

    def _candidates(self, tool: str) -> Iterator[tuple[int, str]]:
        """The patterns that begin as a tool does."""
        for length in range(len(tool) + 1):
            yield from self._patterns.get(tool[:length], ())

    def caller_roles(self, step: str) -> frozenset[str] | None:
        """The roles whose holders the `roles` policies let call a tool step; None without any."""
        found: frozenset[str] = frozenset()
        for tool in self._definition.steps[step].tool or ():
            roles = self.roles_on(step, tool)
            if roles is None:
                return None
            found |= roles
        return found

    def roles_on(self, step: str | None, tool: str) -> frozenset[str] | None:
        """The roles that every `roles` policy on a call accepts; None when there is none."""
        allowed: frozenset[str] | None = None
        for _, policy in self.policies_on(step, tool):
            if policy.roles is not None and policy.over is None:
                named = frozenset(policy.roles)
                allowed = named if allowed is None else allowed & named
        return allowed

    def reaches(self, pattern: str) -> bool:
        """Whether a tool or pattern can mean something that the file lets be called."""
        if pattern not in self._reaches:
            self._reaches[pattern] = pattern in self.tools or self._is_matched(pattern)
        return self._reaches[pattern]

    def _is_matched(self, pattern: str) -> bool:
        self._comparisons_left -= len(self._listed_patterns)
        if self._comparisons_left < 0:
            return True
        if any(_may_meet(pattern, other) for other in self._listed_patterns):
            return True
        start = _plain_start(pattern)
        first, end = bisect_left(self._names, start), bisect_left(self._names, start + _LAST)
        for index in range(first, end):
            self._comparisons_left -= 1
            if self._comparisons_left < 0 or fnmatchcase(self._names[index], pattern):
                return True
        return False


def tools_of(definition: Definition) -> frozenset[str]:
    """Every tool and pattern of tools that a file lets be called."""
    listed = expand_sets(definition.listed_tools, definition.tools.sets)
    found = {word for word in listed if "." in word}  # any other is a set that does not exist
    found.update(tool for _, tool in called_tools(definition))
    return frozenset(found)


def called_tools(definition: Definition) -> Iterator[tuple[str, str]]:
    """Every step with each tool that it calls, the one of its compensation included."""
    for name, step in definition.steps.items():
        for tool in step.tool or ():
            yield name, tool
        if step.compensate is not None:
            yield name, step.compensate.tool


def is_pattern(word: str) -> bool:
    """Whether a word stands for tools by `*`, `?` or `[…]`."""
    return not _GLOB.isdisjoint(word)


def _may_meet(one: str, other: str) -> bool:
    """Whether two patterns can mean one tool; two with wildcards are taken to, on one server."""
    if not (is_pattern(one) and is_pattern(other)):
        return fnmatchcase(one, other) or fnmatchcase(other, one)
    server, other_server = one.partition(".")[0], other.partition(".")[0]
    return server == other_server or is_pattern(server) or is_pattern(other_server)


def _plain_start(pattern: str) -> str:
    """What every tool that a pattern matches begins with."""
    end = next((index for index, one in enumerate(pattern) if one in _GLOB), len(pattern))
    return pattern[:end]
