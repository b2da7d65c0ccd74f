"""The map of the rooms: who may import whom. A change of an arrow is a change of this table."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import dicomsync

ROOT = Path(dicomsync.__file__).parent

MAP: dict[str, str] = {
    # room: the rooms and outside packages it may import (the standard library is free)
    "states": "",
    "model": "states",
    "errors": "",
    "reasons": "",
    "handles": "",
    "words": "",
    "mounts": "",
    "logs": "",
    "secrecy": "",
    "hands": "",
    "notify": "",
    "credentials": "",
    "addresses": "",
    "bwlimit": "",
    "config": "addresses bwlimit credentials errors",
    "settle": "model",
    "batching": "model",
    "claims": "model",
    "deletion": "model",
    "roots": "deletion errors model mounts",
    "pacing": "",
    "congestion": "",
    "failures": "reasons",
    "rules": "model pacing failures dicomweb.response",
    "quiet": "",
    "lean": "",
    "names": "model",
    "entries": "model",
    "listings": "entries model names quiet",
    "scan": "listings model names quiet",
    "watch": "watchdog",
    "walk": "",
    "layouts": "walk",
    "header": "layouts model quiet walk",
    "samples": "pydicom",
    "compare": "pydicom",
    "copies": "compare dicomweb model quiet rules",
    "jobs": "copies dicomweb header scan rules pacing model errors",
    "removal": "deletion dicomweb errors jobs model pacing roots rules",
    "work": "batching model",
    "ledger": "claims deletion errors lean model mounts sqlite_utils states",
    "enrolment": "claims failures handles jobs ledger model work",
    "passes": "listings names scan handles ledger model pulse work",
    "pulse": "ledger model work",
    "resolution": "errors ledger model",
    "mirror_orders": "deletion errors ledger",
    "orders": "errors ledger mirror_orders model resolution",
    "visits": "errors intake listings model passes",
    "control": "errors",
    "suspects": "ledger model pulse",
    "looks": "enrolment ledger model scan settle work",
    "intake": "enrolment jobs listings looks passes pulse scan suspects ledger model work",
    "traffic": "congestion model pacing",
    "delivery": "batching dicomweb jobs rules pacing handles ledger model scan traffic words work",
    "audit": "delivery dicomweb handles jobs ledger model pacing rules work",
    "evidence": "deletion delivery dicomweb handles intake ledger model passes removal roots work",
    "mirroring": "deletion delivery evidence handles intake jobs ledger model pacing removal rules work",
    "verify": "dicomweb errors handles jobs ledger model orders pacing rules",
    "engine": "audit batching deletion delivery dicomweb errors intake ledger listings mirroring model passes"
    " scan suspects visits work",
    "commanded": "engine mirror_orders model orders resolution",
    "wiring": "alerting alerts batching concerns config deletion dicomweb errors hands model mounts"
    " receivers",
    "service": "delivery engine hands config ledger dicomweb listings model wiring work errors",
    "upkeep": "config dicomweb engine errors jobs ledger model pacing rules service wiring",
    "byhand": "batching compare copies delivery dicomweb errors failures handles header jobs"
    " ledger model pacing resolution rules scan words",
    "serving": "commanded config engine errors ledger mirror_orders model orders resolution wiring",
    "handover": "config control engine errors ledger listings mirror_orders model orders resolution"
    " service visits wiring",
    "daemon": "concerns config control dicomweb engine errors handles hands ledger model notify pacing"
    " renewals service serving telling watch wiring words work",
    "mirror_report": "deletion failures handles ledger words",
    "status": "concerns errors failures ledger mirror_report states words",
    "explain": "compare handles ledger model failures scan status words",
    "forecast": "failures handles header jobs ledger model names words",
    "progress": "engine words rich",
    "concerns": "failures words",
    "alerts": "concerns words",
    "receivers": "dicomweb errors",
    "alerting": "alerts concerns hands ledger model receivers",
    "certificates": "dicomweb errors",
    "renewals": "dicomweb",
    "telling": "alerting certificates concerns config facts hands ledger model pacing statusfile wiring",
    "facts": "concerns handles ledger mirror_report states",
    "statusfile": "concerns facts ledger model pacing",
    "guide": "",
    "summary": "concerns service status words",
    "report": "errors failures handles ledger model words",
    "setup": "config errors",
    "doctor": "alerting alerts byhand certificates concerns config deletion dicomweb errors ledger listings"
    " model mounts reasons receivers roots samples scan watch wiring words",
    "demo": "concerns config explain facts ledger progress samples sandbox service status summary words",
    "web": "addresses concerns config dicomweb errors facts failures handles ledger mirror_report model"
    " secrecy status words jinja2 markupsafe prometheus_client starlette uvicorn",
    "cli": "click commands errors secrecy",
    "commands": "byhand click compare concerns config daemon demo dicomweb doctor errors explain facts"
    " failures forecast guide handles handover jobs lean ledger logs mirror_orders mirror_report model notify"
    " orders progress report resolution roots sandbox scan service setup status summary upkeep verify web"
    " wiring words",
    "dicomweb": "errors lean azure certifi httpx httpcore requests tenacity",
    "sandbox": "errors pydicom python_multipart starlette uvicorn",
    "__main__": "cli secrecy",
    "__init__": "",
}

PURE = {
    "addresses",
    "alerts",
    "batching",
    "bwlimit",
    "claims",
    "concerns",
    "congestion",
    "credentials",
    "deletion",
    "pacing",
}
PURE |= {"rules", "settle"}
IMPURE_MODULES = {"os", "time", "random", "socket", "sqlite3", "threading", "subprocess", "logging"}


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        below = path.relative_to(ROOT)
        found.setdefault(below.parts[0].removesuffix(".py"), []).append(path)
    return found


def imports(path: Path) -> set[str]:
    """Every module a file imports, with ours as `dicomsync.…`."""
    package = ["dicomsync", *path.relative_to(ROOT).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "dicomsync":
                found |= {f"dicomsync.{alias.name}" for alias in node.names}
            else:
                found.add(module)
    return found


def test_every_room_is_on_the_map_and_every_entry_is_a_room() -> None:
    assert set(rooms()) == set(MAP)


@pytest.mark.parametrize("room", sorted(MAP))
def test_a_room_imports_only_what_the_map_allows(room: str) -> None:
    allowed = set(MAP[room].split())
    for path in rooms()[room]:
        for module in imports(path):
            top, _, rest = module.partition(".")
            if top in sys.stdlib_module_names:
                continue
            if top != "dicomsync":
                assert top in allowed, f"{path.name} imports {module}"
            elif rest and rest != "__version__":
                own = rest.split(".")[0]
                assert own == room or own in allowed or rest in allowed, f"{path.name} imports {module}"


@pytest.mark.parametrize(
    "package",
    [
        "httpx",
        "httpcore",
        "tenacity",
        "pydicom",
        "sqlite_utils",
        "click",
        "rich",
        "starlette",
        "watchdog",
        "azure",
        "certifi",
        "requests",
        "prometheus_client",
        "jinja2",
    ],
)
def test_each_outside_package_has_its_doors_and_no_other(package: str) -> None:
    doors = {
        room
        for room, paths in rooms().items()
        if any(module.split(".")[0] == package for path in paths for module in imports(path))
    }
    expected = {
        "httpx": {"dicomweb"},
        "httpcore": {"dicomweb"},
        "tenacity": {"dicomweb"},
        "pydicom": {"compare", "samples", "sandbox"},
        "sqlite_utils": {"ledger"},
        "click": {"cli", "commands"},
        "rich": {"progress"},
        "starlette": {"sandbox", "web"},
        "watchdog": {"watch"},
        "azure": {"dicomweb"},
        "certifi": {"dicomweb"},
        "requests": {"dicomweb"},
        "prometheus_client": {"web"},
        "jinja2": {"web"},
    }
    assert doors == expected[package]


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_room_knows_neither_clock_nor_disk_nor_luck(room: str) -> None:
    for path in rooms()[room]:
        assert not imports(path) & IMPURE_MODULES


def test_only_the_ledger_knows_sql() -> None:
    for room, paths in rooms().items():
        if room not in ("ledger", "sandbox"):
            for path in paths:
                assert "sqlite3" not in imports(path), path


def test_the_command_line_starts_light() -> None:
    heavy = {"httpx", "pydicom", "sqlite_utils", "rich", "starlette", "watchdog", "tenacity"}
    heavy |= {"jinja2", "prometheus_client", "uvicorn"}
    for path in [ROOT / "cli.py", *rooms()["commands"]]:
        top = ast.parse(path.read_text()).body
        names = {one.name.split(".")[0] for node in top if isinstance(node, ast.Import) for one in node.names}
        names |= {(node.module or "").split(".")[0] for node in top if isinstance(node, ast.ImportFrom)}
        assert not names & heavy, path
