"""Scene `monitoring`: a run as people see it while it goes on, read from the store alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcpuppet.demo.stage import Stage
from mcpuppet.demo.watch import Watch, watched

_WORK: Final[tuple[tuple[str, str, Mapping[str, Any]], ...]] = (
    ("validate", "validate_data", {}),
    ("process", "process_data", {}),
    ("load_facts", "load_table", {"table": "fact_orders"}),
    ("load_dims", "load_table", {"table": "dim_orders"}),
    ("publish", "publish", {}),
    ("monitor", "check_health", {}),
    ("monitor", "check_health", {}),
)
"""Step, tool and arguments of each call; the first check of a new version says `amber`."""


async def play(stage: Stage) -> None:
    """Run a data pipeline, and show each change as another process would see it."""
    await stage.tell(
        "A data pipeline runs. What follows is what a person sees who watches: it is read from the "
        "store, by another process than the gateway. The last step repeats until all is green."
    )
    await stage.begin("data_pipeline", {"dataset": "orders"})
    async with watched(stage) as watch:
        for step, tool, arguments in _WORK:
            await _work(stage, watch, step, tool, arguments)
        sight = await watch.look()
    stage.narrator.gap()
    stage.checked(
        sight.view.status == "completed" and sight.counters["succeeded"] == len(_WORK),
        f"the run is completed; all {len(_WORK)} calls of the AI are on record.",
        f"the run is {sight.view.status} after {sight.counters['succeeded']} calls",
    )


async def _work(
    stage: Stage, watch: Watch, step: str, tool: str, arguments: Mapping[str, Any]
) -> None:
    stage.expect(await watch.until_legal(step), f"{step} did not become legal")
    await stage.ask_unseen(tool, arguments, "succeeded")
    await watch.look()
    await stage.pace.step(stage.narrator.awaits_key)
