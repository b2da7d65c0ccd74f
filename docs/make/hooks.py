"""What MkDocs calls: the pages that are made from the program are added, and never written by hand."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.make import commands, configure, ledger

CHECKOUT = Path(__file__).parent.parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of keys, commands and changes."""
    pages = {
        "configure.md": configure.markdown(),
        "commands.md": commands.markdown(),
        "changes.md": changes(),
        "datasette.json": ledger.datasette(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Put the schema where the ledger's page has its place."""
    return markdown.replace("{{ schema }}", ledger.schema()) if page.file.src_uri == "ledger.md" else markdown


def changes() -> str:
    """Give the changelog, whose links are as seen from the checkout."""
    return (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
