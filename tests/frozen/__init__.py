"""Ledgers as released versions made them, which every later version must be able to take over."""
