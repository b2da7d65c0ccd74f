"""What to do about the kernel's limits on watching, said in one way by all who say it. Pure."""

LEAST = {
    "max_user_watches": 65_536,  # about 64 MiB of kernel memory if they are all used; some begin with 8,192
    "max_user_instances": 512,
}


def raising(name: str, limit: int, needed: int = 0) -> str:
    """Give the command that raises a limit: to twice what is needed, and twice what it is (0: not known)."""
    enough = max(LEAST[name], 2 * needed, 2 * limit)
    return f"sysctl -w fs.inotify.{name}={enough} (to stay: a line in /etc/sysctl.d/)"
