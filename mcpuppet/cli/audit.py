"""`mcpuppet audit`: the audit trail is signed, verified, handed on and, after a time, pruned."""

from __future__ import annotations

import typer

from mcpuppet.cli.audit_bundle import bundle
from mcpuppet.cli.audit_export import export
from mcpuppet.cli.audit_prune import prune
from mcpuppet.cli.audit_sign import checkpoint, init
from mcpuppet.cli.audit_values import disclose, erase
from mcpuppet.cli.audit_verify import verify

audit = typer.Typer(no_args_is_help=True, help="Sign, verify, export and prune the audit trail.")

for _command in (init, checkpoint, verify, bundle, export, disclose, erase, prune):
    audit.command()(_command)
