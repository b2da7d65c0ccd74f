"""The program: `dicomsync`, which is also `python -m dicomsync`."""

from dicomsync import cli, secrecy


def main() -> None:
    """Run the command line in a process that keeps what it holds to itself."""
    secrecy.keep_to_ourselves()
    cli.main()


if __name__ == "__main__":
    main()
