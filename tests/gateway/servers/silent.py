"""Reads nothing, answers nothing, and ignores both the end of its input and SIGTERM.

Arguments: a file that gets the process id.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path(sys.argv[1]).write_text(str(os.getpid()))
while True:
    time.sleep(60)
