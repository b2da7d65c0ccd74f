"""Runnable measurements: `python -m benchmarks` is all of them, beside the peers and against the goals."""
