"""A real Prometheus scrapes the metrics; its own tools judge them, the alert rules and the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dicomsync import concerns
from dicomsync.model import InstanceState
from dicomsync.web import metrics

from .conftest import eventually, need
from .lookout import OUTAGE, TOKEN, Post, posted, serving

S = InstanceState
ROOT = Path(__file__).parent.parent
RULES = ROOT / "docs" / "prometheus" / "dicomsync.rules.yml"
DASHBOARD = ROOT / "docs" / "grafana" / "dicomsync.json"

pytestmark = pytest.mark.prometheus


@pytest.fixture(autouse=True)
def _installed() -> None:
    here = shutil.which("prometheus") and shutil.which("promtool")
    need(None if here else "Prometheus is not here (Debian: apt-get install prometheus)")


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """Something of everything, and an archive that is away."""
    with posted(tmp_path / "post") as one:
        one.put(S.STORED, n=12)
        one.put(S.PENDING, "no-answer", n=3, study=2)
        one.put(S.CONFLICT, "differs", n=2, study=3)
        one.hold("truncated")
        one.batch(200, 2.0)
        one.tell(OUTAGE)
        yield one


def promtool(*arguments: str, given: bytes = b"") -> None:
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_metrics_are_what_prometheus_expects_of_metrics(post: Post) -> None:
    promtool("check", "metrics", given=metrics.exposition(post.path)[0])


def test_the_alert_rules_are_rules_and_fire_when_they_should() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(Path(__file__).parent / "dicomsync.rules.test.yml"))


def expressions() -> list[str]:
    """Every expression of the rules and of the dashboard."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return panels + re.findall(r"expr: (?:>-)?\s*(.*?)\n {8}\w", RULES.read_text(), re.DOTALL)


def test_rules_and_dashboard_speak_of_metrics_and_codes_that_there_are(post: Post) -> None:
    known = set(re.findall(r"^# TYPE (\w+)", metrics.exposition(post.path)[0].decode(), re.MULTILINE))
    told = "\n".join(expressions())
    named = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"dicomsync_\w+", told)}
    assert len(named) > 15
    assert named <= known
    codes = [code for one in re.findall(r'code[=!]~"([^"]+)"', told) for code in one.split("|")]
    assert codes
    for code in codes:
        assert any(re.fullmatch(code, one) for one in concerns.CODES), code


def test_every_expression_of_the_dashboard_can_be_read_by_prometheus(tmp_path: Path) -> None:
    panels = [one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in expressions()]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(panels)]
    path = tmp_path / "panels.yml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(path))


def test_a_real_prometheus_scrapes_it_with_the_token_and_tells_the_same(post: Post, tmp_path: Path) -> None:
    with serving(post, 'web.token_from="env:WEB_TOKEN"') as web, prometheus(tmp_path, web.url) as ask:
        eventually(lambda: ask('dicomsync_instances{state="stored"}') == [12.0], within=60)
        assert ask('dicomsync_concern{code="archive-unreachable"}') == [3.0]
        assert ask("sum(dicomsync_cases)") == [3.0]
        assert ask('dicomsync_time_to_archive_seconds_count{kind="live"}') == [12.0]
        assert ask('histogram_quantile(0.5, dicomsync_time_to_archive_seconds_bucket{kind="live"})') == [20.0]
        assert ask('dicomsync_request_duration_seconds_count{answer="200"}') == [1.0]
        assert ask("dicomsync_up") == [1.0]
        post.ledger.close()
        eventually(lambda: ask("dicomsync_up") == [0.0], within=60)
        assert ask('dicomsync_level{level="wrong"}') == [1.0]
        assert ask('dicomsync_concern{code="daemon-stopped"}') == [3.0]


Ask = Callable[[str], list[float]]


@contextmanager
def prometheus(home: Path, target: str) -> Iterator[Ask]:
    """Have a Prometheus scrape one place again and again, with our rules; gives what asks it for values."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"127.0.0.1:{free.getsockname()[1]}"
    config = home / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nrule_files: [{RULES}]\n"
        "scrape_configs:\n- job_name: dicomsync\n"
        f"  authorization: {{credentials: {TOKEN}}}\n"
        f"  static_configs: [{{targets: ['{urllib.parse.urlsplit(target).netloc}']}}]\n"
    )

    def ask(query: str) -> list[float]:
        asked = urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(f"http://{url}/api/v1/query?{asked}", timeout=10) as answer:
                told: Any = json.load(answer)
        except OSError:  # it is only starting
            return []
        return [float(one["value"][1]) for one in told["data"]["result"]]

    options = [f"--config.file={config}", f"--storage.tsdb.path={home / 'tsdb'}", "--log.level=error"]
    process = subprocess.Popen(["prometheus", *options, f"--web.listen-address={url}"])
    try:
        yield ask
    finally:
        process.kill()
        process.wait()
