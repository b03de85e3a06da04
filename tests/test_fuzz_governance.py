"""Random rules files and workflows with every kind of policy, played at random, two sessions at a
time. Nothing may raise, the fold must be the state, and no call may start that a rule forbids.

`MCPUPPET_FUZZ_SECONDS` makes it go on for longer, with seeds of its own.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import yaml
from support.fakes import Clock, failed, succeeded
from support.histories import recorded
from support.play import AGENT, Play, Shared, compiled, compiled_rules

from mcpuppet.audit.replay.store import replay_store
from mcpuppet.ledger import session_index
from mcpuppet.session.asked import (
    Circumstances,
    opened_request,
    refused_call,
    settings_read,
    shown_values,
)
from mcpuppet.session.call import Call
from mcpuppet.session.decision import (
    Allowed,
    ApprovalNeeded,
    AskNeeded,
    Books,
    Decision,
    Denied,
    govern,
    legal_under,
    unordered_call,
)
from mcpuppet.session.intent import start_call
from mcpuppet.session.outcome import Failed, Outcome, Unknown
from mcpuppet.session.reservations import LockHolder
from mcpuppet.session.state import AskState
from mcpuppet.workflow.checks import check
from mcpuppet.workflow.compiled import Rulebook
from mcpuppet.workflow.marking import RUNNING
from mcpuppet.workflow.parser import parse_workflow

WORLDS = 24
STEPS = 60
TOOLS = ["bank.pay", "bank.get", "crm.find", "crm.note", "bank.close"]
ORDERED = TOOLS[:3]
CHECKS = [
    "args.n < 10",
    "has(args.a) && args.a != 'x'",
    "args.a in facts.names",
    "facts.acc[args.a].ok",
    "given(args.a)",
    "now < timestamp('2026-01-06T00:00:00Z')",
    "inputs.who == args.a",
]
HOURS = ["mon-fri 08:00-18:00 Europe/Rome", "mon-sun 00:00-24:00 UTC", "sat 22:00-23:00 UTC"]
ARGUMENTS: list[dict[str, Any]] = [
    {"a": "x"},
    {"a": "y", "n": 1},
    {"a": "x", "n": 3},
    {"a": "z", "n": 0.1},
    {},
    {"n": -1, "a": "x"},
    {"n": 10**31, "a": ["x"]},
    {"a": {"x": [1, None]}, "n": "5"},
    {"a": "y", "n": -0.0},
    {"a": 1, "n": 1e-21},
    {"a": 1.0, "n": 0.2},
    {"a": True, "n": 0},
]
FINE = succeeded(items=["x", "y"], ok=True, id="x")
OUTCOMES: list[Outcome] = [
    *[FINE] * 6,
    succeeded(items=["a", "b", "c", "d"], ok=False, id="y"),
    succeeded(ok="no", items=5, id=5),
    failed(),
    Failed("invalid_result", "not what was promised"),
    Unknown("timeout", "no answer"),
]
PAUSES = [
    timedelta(milliseconds=1),
    timedelta(minutes=1),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=5),
    timedelta(minutes=-30),
]
INPUTS = {
    "who": {"type": "string", "default": "x"},
    "others": {"type": "array", "items": {"type": "string"}, "default": ["y"]},
}


class _Dumper(yaml.SafeDumper):
    """Writes every value out: anchors are refused."""

    def ignore_aliases(self, data: object) -> bool:
        return True


class _Author:
    """Writes random files; those with errors are thrown away."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._steps: dict[str, dict[str, Any]] = {}

    def file(self, *, rules: bool) -> str:
        while True:
            draft = self._rules() if rules else self._workflow()
            text = yaml.dump(draft, Dumper=_Dumper, sort_keys=False)
            parsed = parse_workflow(text, "generated.yaml")
            if parsed.definition and all(one.severity != "error" for one in check(parsed)):
                return text

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _common(self, most_policies: int) -> dict[str, Any]:
        number = self._rng.choice(range(most_policies + 1))
        policies = [self._policy(f"p{one}") for one in range(number)]
        common = {
            "version": "1.0.0",
            "roles": ["boss", "cfo", "worker"],
            "inputs": INPUTS,
            "given": "inputs_before_first_result",
            "facts": self._facts(),
            "mode": self._rng.choice(["enforce"] * 6 + ["observe"]),
        }
        return common | ({"policies": policies} if policies else {})

    def _rules(self) -> dict[str, Any]:
        self._steps = {}
        tools = {
            "allow": self._rng.choice([TOOLS, ["bank.*"], ["*.*"], ["crm.find"]]),
            "otherwise": self._rng.choice(["ask", "deny"]),
        }
        return {"mcpuppet": 1, "rules": "house", "tools": tools} | self._common(4)

    def _workflow(self) -> dict[str, Any]:
        self._steps = {}
        for number in range(self._rng.randint(1, 6)):
            self._steps[f"s{number}"] = self._step(f"s{number}")
        flow = {"mcpuppet": 1, "workflow": "tiny", "steps": self._steps, "timeout": "3d"}
        if self._chance(0.4):
            flow["tools"] = {"always": self._rng.choice([["crm.find"], ["crm.*", "bank.get"]])}
        return flow | self._common(3)

    def _step(self, name: str) -> dict[str, Any]:
        step: dict[str, Any] = {}
        before = list(self._steps)
        if before and self._chance(0.7):
            step["needs"] = self._rng.sample(before, min(len(before), self._rng.randint(1, 2)))
        step |= self._approval() if self._chance(0.3) else self._call()
        if self._chance(0.15):
            outcome = "rejected" if "approval" in step else "failure"
            step["on"] = {outcome: {"redo": [name], "max": self._rng.randint(1, 2)}}
        for key in ("finally", "optional"):
            if self._chance(0.12):
                step[key] = True
        return step

    def _approval(self) -> dict[str, Any]:
        approval: dict[str, Any] = {
            "roles": ["boss"],
            "timeout": self._rng.choice(["1m", "1h", "3h"]),
            "renew": self._rng.randint(0, 2),
            "quorum": self._rng.randint(1, 2),
        }
        if self._chance(0.3):
            approval["bypass"] = {"roles": ["boss"], "justification": 2}
        return {"approval": approval}

    def _call(self) -> dict[str, Any]:
        step: dict[str, Any] = {"tool": self._rng.sample(ORDERED, self._rng.choice([1, 1, 1, 2]))}
        if self._chance(0.3):
            step["retry"] = {"attempts": self._rng.randint(2, 3), "delay": "1m"}
        if self._chance(0.3):
            step["on_unknown"] = self._rng.choice(["retry", "hold"])
        if self._chance(0.2):
            step["returns"] = {"ok": {"type": "boolean"}}
            step["repeat"] = {"max": 2, "until": "result.ok"}
        if self._chance(0.2):
            step["compensate"] = {"tool": self._rng.choice(["bank.close", "crm.note"])}
        return step

    def _facts(self) -> dict[str, Any]:
        names: dict[str, Any] = {"from": "crm.find", "take": "result.items[]", "max": 3}
        account = {"from": "bank.get", "key": self._rng.choice(["args.a", "result.id"])}
        if self._chance(0.6):
            names["until"] = self._rng.choice(["bank.close.success", "bank.pay.call"])
        return {"names": names, "acc": {**account, "keep": ["ok"], "max": 2}}

    def _event(self) -> str:
        found = [f"{tool}.{event}" for tool in TOOLS for event in ("call", "success", "failure")]
        for name, step in self._steps.items():
            words = ("approved", "expired") if "approval" in step else ("call", "success")
            found += [f"{name}.{word}" for word in words] * 3
        return self._rng.choice(found)

    def _policy(self, name: str) -> dict[str, Any]:
        words = [*self._steps, *TOOLS, "bank.*", "crm.*"]
        policy = {"id": name, "call": self._rng.sample(words, self._rng.randint(1, 2))}
        kinds = [self._remembering, self._counting, self._counting, self._exclusive, self._plain]
        return policy | self._rng.choice(kinds)() if self._chance(0.8) else policy | self._asking()

    def _remembering(self) -> dict[str, Any]:
        key = self._rng.choice(["requires", "forbidden_after", "of"])
        event = self._event()
        policy: dict[str, Any] = {key: [event]}
        if key == "of":
            policy["within"] = self._rng.choice(["1ms", "10m", "1d"])
        if event.count(".") == 2 and self._chance(0.4):
            policy["same"] = ["a"]
        return policy

    def _counting(self) -> dict[str, Any]:
        if self._chance(0.2):
            return {"cooldown": self._rng.choice(["1ms", "1m", "1h"])}
        scopes = ["session", "user", "1h", "2d", *(["run"] if self._steps else [])]
        policy: dict[str, Any] = {"at_most": self._rng.choice([0, 1, 2, 3])}
        if self._chance(0.5):
            policy = {"sum": "args.n", "at_most": self._rng.choice([0, 0.3, 1, 5, 100])}
        policy["per"] = self._rng.choice(scopes)
        return policy | ({"over": "ask", "roles": ["boss"]} if self._chance(0.4) else {})

    def _exclusive(self) -> dict[str, Any]:
        scopes = ["workflow", "server", *(["run"] if self._steps else [])]
        return {"mutex": True, "scope": self._rng.choice(scopes)}

    def _plain(self) -> dict[str, Any]:
        choices: list[dict[str, Any]] = [
            {"hours": self._rng.choice(HOURS)},
            {"roles": self._rng.choice([["worker"], ["boss", "worker"]])},
            {"check": self._rng.choice(CHECKS)},
        ]
        return self._rng.choice(choices)

    def _asking(self) -> dict[str, Any]:
        roles = self._rng.choice([["boss"], ["boss", "cfo"]])
        ask: dict[str, Any] = {"roles": roles, "timeout": self._rng.choice(["1m", "2h"])}
        if self._chance(0.4):
            ask["show"] = ["args.a", "facts.names"]
        return {"ask": ask} | ({"unless": self._rng.choice(CHECKS)} if self._chance(0.6) else {})


class _World:
    """Two sessions under the same files, and everything that may happen to them."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        author = _Author(self._rng)
        kind = self._rng.choice(["both", "both", "workflow", "workflow", "rules"])
        texts = {rules: author.file(rules=rules) for rules in (False, True)}
        self.flow = None if kind == "rules" else compiled(texts[False])
        self.rules = None if kind == "workflow" else compiled_rules(texts[True])
        self._clock = Clock()
        self._shared = Shared()
        self._plays = [self._play(name) for name in ("one", "other")]

    def _play(self, name: str) -> Play:
        return Play(
            self.flow,
            rules=self.rules,
            checked=True,
            shared=self._shared,
            clock=self._clock,
            session_id=name,
        )

    def go_on(self) -> None:
        """Let one thing happen to one of the sessions, and look at what it led to."""
        play = self._rng.choice(self._plays)
        play.do("time_passed")
        acts = [self._call, self._end, self._decide, self._wait, self._begin, self._settle]
        self._rng.choices(acts, [12, 9, 5, 1.5, 4, 3])[0](play)
        self._check(play)

    def _begin(self, play: Play) -> None:
        if self.flow is not None and play.state.active_run is None:
            play.restart()
        elif play.state.rules and not play.state.rules.declared and not play.state.exposed:
            play.do("declare_inputs", {"who": "z"}, AGENT.name)
        elif self._rng.random() < 0.1 and play.state.active_run is not None:
            play.do("cancelled", "alice", "enough")

    def _wait(self, _: Play) -> None:
        dues = [self._due(one) for one in self._plays]
        due = min((one for one in dues if one is not None), default=None)
        if due is not None and self._rng.random() < 0.4:
            self._clock.now = due  # the very instant at which something ends
        else:
            self._clock.now += self._rng.choice(PAUSES)
        for one in self._plays:
            one.do("time_passed")

    def _end(self, play: Play) -> None:
        under_way = [one.call_id for one in play.state.calls.values() if not one.unknown]
        if under_way:
            play.end(self._rng.choice(under_way), self._rng.choice(OUTCOMES))

    def _settle(self, play: Play) -> None:
        unknown = [one.call_id for one in play.state.calls.values() if one.unknown]
        held = () if play.state.active_run is None else play.run.held.values()
        unknown += [one.call_id for one in held if one.call_id is not None]
        if unknown:
            happened = self._rng.random() < 0.5
            play.do("resolved", self._rng.choice(unknown), happened, "alice", "looked")

    def _decide(self, play: Play) -> None:
        run = play.state.active_run
        requests = [*play.state.asks.values(), *(run.approvals.values() if run else ())]
        open_now = [one for one in requests if one.status == "open"]
        if not open_now:
            return
        request, person = self._rng.choice(open_now), self._rng.choice(["alice", "bob"])
        if any(name == person for name, _ in request.votes):
            return
        agrees = self._rng.random() < 0.75
        if isinstance(request, AskState):
            if agrees:
                play.agree(request, person, request.roles[: self._rng.randint(1, 2)])
            else:
                play.do("refused", request, person, "no")
        elif agrees:
            play.do("voted", request, person, "content", "test")
        else:
            play.do("denied", request, person, "no")

    # --- calls ----------------------------------------------------------------------------------

    def _call(self, play: Play) -> None:
        tool, arguments = self._rng.choice(TOOLS), self._rng.choice(ARGUMENTS)
        if self._rng.random() < 0.65:  # mostly something that a step is waiting for
            listed = legal_under(play.books, play.state, AGENT, self._clock(), self._reserved())
            tools = [one.tool for one in listed if one.purpose != "free"]
            tool = self._rng.choice(tools or [tool])
            arguments = self._rng.choice(ARGUMENTS[:5])
        call = Call(tool, arguments)
        decision = self._decision(play, call)
        match decision:
            case Allowed():
                self._check_listed(play, call, decision)
                self._check_limits(decision)
                self._start(play, call, decision)
            case AskNeeded():
                self._ask(play, call, decision)
            case ApprovalNeeded() | Denied(legal_at=None):
                self._refuse(play, call, decision)
            case Denied(legal_at=at) if at is not None:
                assert at > self._clock(), decision
                self._refuse(play, call, decision)
                later = self._decision(play, call, at - self._clock())
                said = (decision.rule, decision.book)
                assert not isinstance(later, Denied) or (later.rule, later.book) != said, later

    def _decision(self, play: Play, call: Call, later: timedelta = timedelta(0)) -> Decision:
        now = self._clock() + later
        return govern(self._books(call.tool), play.state, call, AGENT, now, self._reserved())

    def _books(self, tool: str) -> Books:
        flow = self.flow
        is_listed = flow is not None and (tool in flow.tools or flow.is_always(tool))
        is_ordered = flow is not None and flow.orders(tool)
        return Books(flow, self.rules, is_listed=is_listed, is_ordered=is_ordered)

    def _reserved(self) -> Any:
        return self._shared.reserved()

    def _there(self, play: Play, call: Call) -> Circumstances:
        idle = play.state.active_run is None
        return Circumstances(
            "node", "api", settings_read("0" * 64, AGENT, self._books(call.tool), idle=idle)
        )

    def _start(self, play: Play, call: Call, decision: Allowed) -> None:
        progress = play._progress()
        number = len(play.history)
        start_call(progress, f"call_{number}", call, AGENT, decision, self._there(play, call))
        play._keep(progress)

    def _ask(self, play: Play, call: Call, needed: AskNeeded) -> None:
        progress, name = play._progress(), f"ask_{len(play.history)}"
        seen = {path: "not seen before" for path, _ in shown_values(needed, call)}
        opened, decision = opened_request(needed, call, AGENT, name, self._clock(), seen)
        progress.emit(opened)
        told = (f"call_{name}", call, AGENT)
        progress.emit(refused_call(progress.state, *told, decision, self._there(play, call)))
        play._keep(progress)

    def _refuse(self, play: Play, call: Call, decision: ApprovalNeeded | Denied) -> None:
        told = (f"call_{len(play.history)}", call, AGENT)
        there = self._there(play, call)
        play.do("emit", refused_call(play.state, *told, decision, there))

    def replayed(self) -> None:
        """Every decision, made again from what was recorded, is the one that was made."""
        report = replay_store(recorded(self._plays).open)
        assert report.mismatches == ()
        assert not report.not_derivable
        assert not report.unread
        assert report.decisions > 0

    # --- what must hold -------------------------------------------------------------------------

    def _check_listed(self, play: Play, call: Call, decision: Allowed) -> None:
        """What is allowed was listed as legal, but for what observing files let through."""
        if decision.would_have_denied or decision.purpose == "always":
            return
        books, now, reserved = self._books(call.tool), self._clock(), self._reserved()
        listed = legal_under(books, play.state, AGENT, now, reserved)
        found = any((one.tool, one.step) == (call.tool, decision.step) for one in listed)
        if decision.purpose == "free":
            found = found or bool(
                unordered_call(books, play.state, call.tool, AGENT, now, reserved)
            )
        assert found, (decision, listed)

    def _check_limits(self, decision: Allowed) -> None:
        """The uses that are counted across sessions, added up in another way."""
        for use in decision.uses:
            if use.most is None or use.scope in ("run", "session"):
                continue
            since = None if use.period is None else self._clock() - use.period
            kept = self._shared.uses.get(use.key, [])
            counted = (one.amount for one in kept if since is None or one.at > since)
            assert sum(counted, use.amount) <= use.most, use

    def _check(self, play: Play) -> None:
        locks = {
            (lock, call.call_id): one._session_id
            for one in self._plays
            for call in one.state.calls.values()
            for lock in call.locks
        }
        held = {name: LockHolder(session, call) for (name, call), session in locks.items()}
        assert len(held) == len(locks), "two calls hold one lock"
        assert held == self._shared.locks
        due = self._due(play)
        assert due is None or due > self._clock(), "something was due and has not happened"
        for policy, used in self._totals(play):
            assert used <= policy.limit.most, policy.id
        self._check_running(play)

    def _due(self, play: Play) -> Any:
        return session_index(play.state, self.flow if play.state.run else None).due

    def _totals(self, play: Play) -> Iterator[tuple[Any, Decimal]]:
        """The limits of one run or session that nobody can pass, with what was used of each."""
        books: list[Rulebook] = [one for one in (self.flow, self.rules) if one is not None]
        for book in books:
            if any(one.observes for one in books):
                continue
            for policy in book.all_policies:
                if policy.limit is None or policy.ask is not None:
                    continue
                used: Mapping[str, str] = {}
                name = f"{book.name}/{policy.id}"
                if policy.limit.scope == "session":
                    used = play.state.used
                elif policy.limit.scope == "run" and play.state.run is not None:
                    used, name = play.run.used, policy.id
                yield policy, Decimal(used.get(name, "0"))

    def _check_running(self, play: Play) -> None:
        if self.flow is None or self.flow.observes or play.state.active_run is None:
            return
        for policy in self.flow.all_policies:
            if policy.kind == "mutex" and policy.scope == "run" and not policy.exempt:
                steps = [self.flow.step(name) for name in policy.words if name in play.run.index]
                running = [
                    one.id for one in steps if one.tools and play.run.step_status(one.id) == RUNNING
                ]
                assert len(running) <= 1, (policy.id, running)


def _live(seed: int) -> None:
    world = _World(seed)
    for _ in range(STEPS):
        world.go_on()
    world.replayed()


@pytest.mark.parametrize("seed", range(WORLDS))
def test_no_random_session_breaks_a_rule_or_the_record(seed: int) -> None:
    _live(seed)


def test_it_goes_on_for_as_long_as_it_is_told_to() -> None:
    seconds = float(os.environ.get("MCPUPPET_FUZZ_SECONDS", "0"))
    end, seed = time.monotonic() + seconds, WORLDS
    while time.monotonic() < end:
        try:
            _live(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        seed += 1
