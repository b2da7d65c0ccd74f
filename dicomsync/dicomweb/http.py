"""The door to httpx, which is imported without its command line: that takes rich along, and half the time."""

from __future__ import annotations

from ..lean import without

with without("httpx._main"):  # 40 ms of processor time in place of 90
    import httpx as httpx

__all__ = ["httpx"]
