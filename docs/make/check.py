"""Nothing of the built site is fetched from elsewhere.

`python -m docs.make.check SITE` tells what is, and ends with 1 if anything is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("link", "href"),
    ("form", "action"),
}


class Fetches(HTMLParser):
    """What a page has a browser fetch by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one."""
        self.found += [value for name, value in attrs if value and (tag, name) in FETCHED]


def elsewhere(site: Path) -> Iterator[str]:
    """Give what is fetched from elsewhere, with the file that does."""
    for path in sorted(site.rglob("*")):
        found: list[str] = []
        if path.suffix == ".html":
            page = Fetches()
            page.feed(path.read_text(encoding="utf-8"))
            found = page.found
        elif path.suffix in (".css", ".svg"):
            found = re.findall(r"url\([\"']?([^)\"']+)", path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: {one}" for one in found if re.match(r"(https?:)?//", one))


if __name__ == "__main__":
    told = list(elsewhere(Path(sys.argv[1])))
    print("\n".join(told) or "Nothing is fetched from elsewhere.")
    sys.exit(bool(told))
