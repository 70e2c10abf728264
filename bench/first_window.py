"""Start Electrum's window as the stand starts Electrum, and end the process as soon as the window is there.

    python -P bench/first_window.py LAUNCHER-OF-THE-STAND ELECTRUM'S-LAUNCHER electrum's words …

The last line of the output has the CPU seconds, of all threads, and the seconds by the clock since the process began.
"""

import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from electrum.gui.qt import ElectrumGui

START = ElectrumGui.start_new_window


def start_new_window(self: ElectrumGui, *words: Any, **named: Any) -> None:
    """Make the window, let Qt paint it, say how long that took, and end."""
    START(self, *words, **named)
    self.app.processEvents()
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    print(time.process_time(), since_boot - ticks / os.sysconf("SC_CLK_TCK"), flush=True)
    os._exit(0)


ElectrumGui.start_new_window = start_new_window
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
