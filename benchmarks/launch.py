"""Run one command and write down what it took: `python -I -S launch.py REPORT COMMAND…`.

A process of its own, with next to nothing imported: the highest memory use that the system tells of a
child is never lower than what its parent had as it was started.
"""

import os
import sys
import time


def main() -> None:
    """Run, write `seconds cpu_seconds rss_bytes exit_code`."""
    report, *command = sys.argv[1:]
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    with open(report, "w") as file:
        file.write(
            f"{seconds} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss * 1024} "
            f"{os.waitstatus_to_exitcode(status)}"
        )


main()
