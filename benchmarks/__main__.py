"""Every benchmark, one after another: `make bench`."""

from __future__ import annotations

import subprocess
import sys

for name in ("warm_start", "cycle", "hourly", "drift", "categories", "bounded", "alarms", "kernel_gate"):
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
