"""The program: `dicomsync`, which is also `python -m dicomsync`."""

import gc

from dicomsync import cli, secrecy


def main() -> None:
    """Run the command line in a process that keeps what it holds to itself."""
    secrecy.keep_to_ourselves()
    try:
        cli.main()
    finally:
        gc.freeze()  # all goes with the process: looking through it once more first would take 35 ms


if __name__ == "__main__":
    main()
