"""`python -m dicomsync` is `dicomsync`."""

from dicomsync.cli import main

main()
