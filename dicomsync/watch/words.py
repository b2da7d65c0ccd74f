"""How it goes with a root, in words."""

STARTING = "not watched yet"
EVENTS = "events"
GONE = "gone"
DIED = "the watcher died"
STOPPED = "stopped"
