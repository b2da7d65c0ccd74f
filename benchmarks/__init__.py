"""Runnable measurements; nothing here is asserted in tests."""
