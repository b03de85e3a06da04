"""All states that a run of one workflow can reach, as a graph on ints.

The one exploration that checks and proofs share: built from the *compiled* workflow, bit for bit
the markings that sessions have. `flat` is a second reading of the language that shares nothing with
this one; tests compare the two.
"""

from mcpuppet.workflow.space.exploration import Space, explore
from mcpuppet.workflow.space.net import Model, Net
from mcpuppet.workflow.space.parts import Label

__all__ = ["Label", "Model", "Net", "Space", "explore"]
