"""The `operations` server: pages people, isolates hosts, rotates keys and shows telemetry.

It owns which hosts are isolated and what was paged, rotated and written. It does not know whether
anyone approved it. Hosts, services and log lines are invented.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypedDict

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from mcpuppet.demo.servers._common import State, Toolbox

_COMPROMISED: Final = frozenset({"web-13"})
_LOG: Final = (
    "09:41:07 web-13 sshd: accepted key for deploy from 203.0.113.77",
    "09:41:52 web-13 audit: /usr/bin/curl started by deploy",
    "09:42:10 edge-02 proxy: 502 from web-13",
    "09:43:00 api-gateway auth: 118 failed tokens in 60 s",
    "09:44:31 db-01 postgres: checkpoint complete",
)
_METRICS: Final = {
    "error_rate": [0.2, 0.3, 4.8, 7.1],
    "latency_p95": [120.0, 131.0, 480.0, 610.0],
    "requests": [980.0, 1010.0, 890.0, 720.0],
}

Severity = Annotated[
    Literal["sev1", "sev2", "sev3"], Field(description="sev1 is the most serious.")
]
Host = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9.-]*$", description="A host, `web-13`.")]


class Page(BaseModel):
    """A call to the people on duty."""

    model_config = ConfigDict(extra="forbid")

    severity: str
    summary: str


class OperationsState(State):
    """Checks by isolated host, newest key by service, pages and postmortems by their ids."""

    isolated: dict[str, int] = Field(default_factory=dict)
    keys: dict[str, str] = Field(default_factory=dict)
    pages: dict[str, Page] = Field(default_factory=dict)
    postmortems: dict[str, str] = Field(default_factory=dict)


class PageId(TypedDict):
    """The page that was made."""

    page_id: str


class Isolation(TypedDict):
    """Whether the host is isolated now."""

    isolated: bool


class KeyId(TypedDict):
    """The key in use now."""

    key_id: str


class HostHealth(TypedDict):
    """Whether the host is healthy."""

    healthy: bool


class LogLines(TypedDict):
    """The log lines found, oldest first."""

    lines: list[str]


class MetricPoints(TypedDict):
    """A metric's values, one a minute, oldest first."""

    name: str
    points: list[float]


TOOLBOX = Toolbox("operations", "Respond to incidents: page, isolate, rotate.", OperationsState)


@TOOLBOX.changes()
def page_oncall(
    state: OperationsState,
    severity: Severity,
    summary: Annotated[str, Field(min_length=1, description="What is wrong, in a sentence.")],
) -> PageId:
    """Call the people on duty about an incident."""
    page_id = state.mint("page")
    state.pages[page_id] = Page(severity=severity, summary=summary)
    return {"page_id": page_id}


@TOOLBOX.changes(destructive=True)
def isolate_host(state: OperationsState, host: Host) -> Isolation:
    """Cut a host off the network at once; what it serves stops until it is restored."""
    state.isolated[host] = 0
    return {"isolated": True}


@TOOLBOX.changes()
def restore_host(state: OperationsState, host: Host) -> Isolation:
    """Put an isolated host back on the network; refused if it is not isolated."""
    if state.isolated.pop(host, None) is None:
        raise ToolError(f"host {host!r} is not isolated")
    return {"isolated": False}


@TOOLBOX.changes(destructive=True)
def rotate_keys(
    state: OperationsState,
    service: Annotated[str, Field(min_length=1, description="The service whose keys to replace.")],
) -> KeyId:
    """Replace a service's keys; the old ones stop working at once."""
    state.keys[service] = state.mint("key")
    return {"key_id": state.keys[service]}


@TOOLBOX.changes()
def check_host(state: OperationsState, host: Host) -> HostHealth:
    """Check whether a host is healthy, and record the check.

    An isolated host needs a moment: if it is not healthy at first, check again.
    """
    if host not in state.isolated:
        return {"healthy": host not in _COMPROMISED}
    state.isolated[host] += 1
    return {"healthy": state.isolated[host] > 1}


@TOOLBOX.changes()
def create_postmortem(
    state: OperationsState,
    title: Annotated[str, Field(min_length=1, description="The page's title.")],
) -> PageId:
    """Start the page on which an incident is examined afterwards."""
    page_id = state.mint("postmortem")
    state.postmortems[page_id] = title
    return {"page_id": page_id}


@TOOLBOX.reads
def search_logs(
    _state: OperationsState,
    query: Annotated[str, Field(description="Text that a line must contain; empty for all.")],
) -> LogLines:
    """Find log lines that contain a text; upper and lower case are the same."""
    return {"lines": [line for line in _LOG if query.casefold() in line.casefold()]}


@TOOLBOX.reads
def query_metrics(
    _state: OperationsState,
    name: Annotated[str, Field(description=f"A metric: one of {', '.join(_METRICS)}.")],
) -> MetricPoints:
    """Return the last values of a metric."""
    if name not in _METRICS:
        raise ToolError(f"no metric {name!r}; the metrics are {', '.join(_METRICS)}")
    return {"name": name, "points": _METRICS[name]}


if __name__ == "__main__":
    TOOLBOX.serve()
