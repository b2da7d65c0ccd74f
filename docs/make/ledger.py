"""The ledger's page: its schema from the ledger itself, and its queries as Datasette takes them.

`python -m docs.make.ledger` prints those.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from sqlite_utils import Database

from dicomsync.ledger.migrations import migrations

PAGE = Path(__file__).parent.parent / "ledger.md"
COPY = "look"  # the name of the copy that the page has Datasette serve


def queries() -> dict[str, str]:
    """Give every query of the page, by its heading."""
    _, _, text = PAGE.read_text(encoding="utf-8").partition("\n## Queries\n")
    text, _, _ = text.partition("\n## The tables\n")
    return dict(re.findall(r"^### ([^\n]+)\n.*?^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def datasette() -> str:
    """Give them as Datasette's metadata (JSON)."""
    named = {
        re.sub(r"\W+", "-", title.lower()).strip("-"): {"title": title, "sql": sql.strip()}
        for title, sql in queries().items()
    }
    about = {"title": "A ledger of dicomsync", "databases": {COPY: {"queries": named}}}
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


def schema() -> str:
    """Give the statements that make the tables and views of a new ledger."""
    database = Database(memory=True)
    migrations.apply(database)
    rows = database.execute(
        """SELECT sql FROM sqlite_schema
        WHERE type IN ('table', 'view') AND name NOT LIKE '%sqlite_%' ORDER BY rowid"""
    ).fetchall()
    database.close()
    return ";\n\n".join(re.sub(r"(?m)^    (?=    )|^    (?=\))", "", sql) for (sql,) in rows) + ";"


if __name__ == "__main__":
    print(datasette(), end="")
