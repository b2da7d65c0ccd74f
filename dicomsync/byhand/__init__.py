"""DICOMweb by hand: what the `archive` commands do, with the proofs of the daemon and without its ledger."""
