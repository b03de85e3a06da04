"""Random workflows that pass every check, for tests that compare two readings of the language.

`random_workflow(random.Random(seed))` gives the same text for the same seed. The texts use needs
with outcomes and joins, guards over inputs and results, approvals with bypass and renewal, retry,
repeat, redo, `finally`, `optional`, compensation, `on_failure` and the policies of one run. Every
step has tools of its own, so a call names its step. State graphs have at most `MOST_STATES` states.
"""

from __future__ import annotations

import random
from typing import Any

import yaml

from mcpuppet.workflow.checks import check
from mcpuppet.workflow.flat import explore
from mcpuppet.workflow.parser import parse_workflow

MOST_STATES = 600

_INPUTS: dict[str, dict[str, Any]] = {
    "level": {"type": "integer", "minimum": 0, "maximum": 3},
    "kind": {"enum": ["small", "big"]},
    "urgent": {"type": "boolean"},
}
_RETURNS: dict[str, dict[str, Any]] = {
    "score": {"type": "number", "minimum": 0, "maximum": 1},
    "hits": {"type": "integer", "minimum": 0},
    "ok": {"type": "boolean"},
    "state": {"type": "string"},
}
_ATOMS = {
    "level": ["{} > 1", "{} == 0", "2 <= {}"],
    "kind": ['{} == "big"', '{} in ["small"]'],
    "urgent": ["{}", "!{}"],
    "score": ["{} >= 0.8", "{} < 0.8", "{} < 0.3 || {} > 0.6"],
    "hits": ["{} > 0", "{} == 0"],
    "ok": ["{}", "!{}"],
    "state": ['{} == "green"', '{} != "red"'],
    "extra": ["has({})", "has({}) && {} > 1", "{} == 1"],
}


class _Dumper(yaml.SafeDumper):
    """Writes every value out: anchors are refused in workflows."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def random_workflow(rng: random.Random) -> str:
    """YAML text of a workflow with three to eight steps, and no errors."""
    while True:
        text = yaml.dump(_Draft(rng).workflow(), Dumper=_Dumper, sort_keys=False)
        parsed = parse_workflow(text, "generated.yaml")
        if parsed.definition is None:
            raise AssertionError(f"{parsed.findings}\n{text}")
        is_small = explore(parsed.definition, limit=MOST_STATES).complete
        if is_small and all(one.severity != "error" for one in check(parsed)):
            return text


class _Draft:
    """One attempt: every choice is made here, and nothing is known to be right."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._inputs = {name: one for name, one in _INPUTS.items() if self._chance(0.4)}
        self._steps: dict[str, dict[str, Any]] = {}

    def workflow(self) -> dict[str, Any]:
        for number in range(self._rng.randint(3, 8)):
            self._steps[f"s{number}"] = self._step(f"s{number}")
        workflow: dict[str, Any] = {
            "mcpuppet": 1,
            "workflow": "generated",
            "version": "1.0.0",
            "roles": ["boss"],
            "inputs": self._inputs,
            "steps": self._steps,
        }
        policies = [self._policy(f"p{number}") for number in range(self._rng.choice([0, 0, 1, 2]))]
        return workflow | ({"policies": policies} if policies else {})

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _step(self, name: str) -> dict[str, Any]:
        step: dict[str, Any] = {}
        if self._steps and self._chance(0.8):
            step["needs"] = self._needs()
        is_approval = self._chance(0.25)
        if is_approval:
            step["approval"] = self._approval(step)
        else:
            step |= self._tool(name)
        if self._chance(0.4):
            step |= self._optional_key("when", self._guard(self._before(step)))
        if self._chance(0.25):
            step |= self._redo(name, step, "rejected" if is_approval else "failure")
        for key, share in (("finally", 0.15), ("optional", 0.15)):
            if self._chance(share):
                step[key] = True
        if self._chance(0.2):
            step["on_failure"] = "continue"
        return step

    def _optional_key(self, key: str, value: str | None) -> dict[str, Any]:
        return {} if value is None else {key: value}

    def _tool(self, name: str) -> dict[str, Any]:
        step: dict[str, Any] = {"tool": f"srv.{name}"}
        if self._chance(0.1):
            step["tool"] = [f"srv.{name}", f"alt.{name}"]
        fields = [field for field in _RETURNS if self._chance(0.3)]
        if fields:
            step["returns"] = {field: dict(_RETURNS[field]) for field in fields}
        own = [(field, f"result.{field}") for field in fields]
        if own and self._chance(0.3):
            step["success"] = self._atom(own)
        if self._chance(0.25):
            step["retry"] = {"attempts": self._rng.randint(2, 3), "delay": "1ms"}
        if own and self._chance(0.25):
            step["repeat"] = {"max": self._rng.randint(1, 3), "until": self._atom(own)}
        if self._chance(0.3):
            step["compensate"] = {"tool": f"undo.{name}"}
        return step

    def _approval(self, step: dict[str, Any]) -> dict[str, Any]:
        approval: dict[str, Any] = {"roles": ["boss"], "timeout": "1h"}
        if self._chance(0.3):
            approval["renew"] = self._rng.randint(1, 2)
        if self._chance(0.4):
            approval["bypass"] = {"roles": ["boss"], "justification": 5}
            if self._chance(0.4):
                guard = self._guard(self._before(step))
                approval["bypass"] |= self._optional_key("when", guard)
        return approval

    def _needs(self) -> str | list[str] | dict[str, Any]:
        names = self._rng.sample(list(self._steps), min(len(self._steps), self._rng.randint(1, 3)))
        form = self._rng.choice(["plain", "map", "map"])
        if form == "plain":
            return names[0] if len(names) == 1 else names
        needs: dict[str, Any] = {name: self._outcomes(name) for name in names}
        if len(names) > 1 and self._chance(0.4):
            needs["join"] = "any"
        return needs

    def _outcomes(self, name: str) -> str | list[str]:
        approval = self._steps[name].get("approval")
        known = ["success", "failure", "skipped"]
        if approval is not None:
            known = ["approved", "rejected", "skipped"] + ["bypassed"] * ("bypass" in approval)
        if self._chance(0.4):
            return known[0]
        return self._rng.sample(known, self._rng.randint(1, len(known)))

    def _before(self, step: dict[str, Any]) -> list[tuple[str, str]]:
        """What a guard may read when a step starts: field, and its path."""
        paths = [(name, f"inputs.{name}") for name in self._inputs]
        for name in self._certain(step):
            if "approval" in self._steps[name]:
                continue
            paths += [(f, f"steps.{name}.result.{f}") for f in self._steps[name].get("returns", ())]
            if self._chance(0.2):
                paths.append(("extra", f"steps.{name}.result.extra"))
        return paths

    def _certain(self, step: dict[str, Any]) -> list[str]:
        """Needed steps that have succeeded when this one starts; the checks find what is not."""
        needs = step.get("needs", [])
        if isinstance(needs, str):
            return [needs]
        if isinstance(needs, list):
            return needs
        sure = ("success", ["success"], "approved", ["approved"])
        names = [name for name, words in needs.items() if name != "join" and words in sure]
        return names if needs.get("join") != "any" or len(names) == 1 else []

    def _guard(self, paths: list[tuple[str, str]]) -> str | None:
        if not paths:
            return None
        if self._chance(0.3):
            joined = self._rng.choice([" && ", " || "])
            return joined.join(f"({self._atom(paths)})" for _ in range(2))
        return self._atom(paths)

    def _atom(self, paths: list[tuple[str, str]]) -> str:
        field, path = self._rng.choice(paths)
        return self._rng.choice(_ATOMS[field]).replace("{}", path)

    def _redo(self, name: str, step: dict[str, Any], outcome: str) -> dict[str, Any]:
        if any("on" in other for other in self._steps.values()) and self._chance(0.7):
            return {}
        again = [one for one in self._certain(step) if self._chance(0.7)]
        if self._chance(0.5) or not again:
            again.append(name)
        return {"on": {outcome: {"redo": again, "max": self._rng.randint(1, 2)}}}

    def _policy(self, name: str) -> dict[str, Any]:
        policy: dict[str, Any] = {"id": name, "call": self._calls()}
        match self._rng.choice(["requires", "forbidden_after", "mutex", "mutex", "at_most"]):
            case "requires":
                policy["requires"] = [self._event() for _ in range(self._rng.randint(1, 2))]
            case "forbidden_after":
                policy["forbidden_after"] = self._event()
            case "mutex":
                policy["mutex"] = True
            case _:
                policy |= {"at_most": self._rng.randint(1, 4), "per": "run"}
        return policy

    def _calls(self) -> str | list[str]:
        steps = [name for name, step in self._steps.items() if "tool" in step] or list(self._steps)
        if self._chance(0.2):
            return self._rng.choice(["srv.*", "*.s1", f"srv.{self._rng.choice(steps)}"])
        return self._rng.sample(steps, min(len(steps), self._rng.randint(1, 3)))

    def _event(self) -> str:
        name = self._rng.choice(list(self._steps))
        approval = self._steps[name].get("approval")
        events = ["call", "success", "failure", "skipped"]
        if approval is not None:
            events = ["call", "approved", "rejected", "expired", "skipped"]
            events += ["bypassed"] * ("bypass" in approval)
        return f"{name}.{self._rng.choice(events)}"
