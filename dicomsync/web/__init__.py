"""What operators look at over HTTP: a page, metrics, health. A read-only process of its own.

It opens the ledger as any reader does, and is told the rest by the daemon's status.json.
"""
