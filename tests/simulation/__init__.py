"""The daemon's whole life in one process: made-up disk, archive and clock, a real ledger, and a judge.

`site` is the life, `disk` and `archive` its outside, `oracle` the judge, `programs` what happens to it,
`machine` the same for Hypothesis, `coverage` what a long run must have come by.
"""
