"""What a report says of a session's rules file: its adoption, its inputs, and facts learned."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from mcpuppet.audit.reports.report import FactReport, InputsReport, RulesReport
from mcpuppet.session import events as e


class RulesReading:
    """Rules adopted and inputs declared, in order, and how often each fact was learned."""

    def __init__(self) -> None:
        self.adopted: list[RulesReport] = []
        self.inputs: list[InputsReport] = []
        self._facts: dict[tuple[str, str], FactReport] = {}

    @property
    def facts(self) -> tuple[FactReport, ...]:
        """The facts that were learned, in the order in which they first were."""
        return tuple(self._facts.values())

    def adopt(self, seq: int, event: e.RulesAdopted, at: datetime) -> None:
        """A rules file governs the session from here on."""
        self.adopted.append(RulesReport(seq, event.rules, event.version, event.hash, at))

    def declare(self, seq: int, event: e.InputsDeclared, at: datetime) -> None:
        """Its inputs were given."""
        self.inputs.append(
            InputsReport(seq, at, "declared", event.principal, event.rules, event.inputs)
        )

    def reopen(self, seq: int, event: e.InputsReopened, at: datetime) -> None:
        """A person let inputs be declared anew."""
        self.inputs.append(InputsReport(seq, at, "reopened", event.by, note=event.note))

    def learn(self, event: e.FactLearned) -> None:
        """A result was remembered."""
        name = (event.book, event.fact)
        known = self._facts.get(name) or FactReport(*name, learned=0)
        self._facts[name] = replace(
            known,
            learned=known.learned + 1,
            overflowed=known.overflowed + (not event.complete),
            dropped=known.dropped + (event.drops is not None),
        )
