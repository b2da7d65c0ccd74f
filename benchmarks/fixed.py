"""The command line, with so many requests at a time from the first to the last: what adapting is held to.

python -m benchmarks.fixed REQUESTS backfill …
"""

from __future__ import annotations

import sys

from dicomsync import cli, congestion
from dicomsync.congestion import Window


def main() -> None:
    """Run the command with a window that never moves."""
    requests = int(sys.argv.pop(1))
    vars(congestion)["FIRST_REQUESTS"] = requests
    for name in ("after", "troubled"):
        setattr(Window, name, lambda window, *_: window)
    sys.argv += ["--set", f"upload.transfers={requests}"]
    cli.main()


if __name__ == "__main__":
    main()
