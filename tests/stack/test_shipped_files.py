"""The files of the stack, read by the programs that they are for, and held against each other."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
import yaml

from .programs import ROOT, program, rewritten

DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
SOURCES = yaml.safe_load((ROOT / "grafana" / "provisioning" / "datasources" / "ebpf-bot.yaml").read_text())


def run(*words, cwd=ROOT, **variables):
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compose():
    """docker-compose.yaml as docker-compose itself understands it."""
    return json.loads(run(program("docker-compose"), "config", "--format", "json"))


def test_every_port_is_published_on_loopback_only(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {port["published"] for port in ports} >= {"4317", "8889", "13133", "16686", "9090", "3000"}


def test_every_image_has_a_version(compose):
    for service in compose["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), service["image"]


def test_what_is_mounted_is_in_the_repository(compose):
    mounts = [mount for service in compose["services"].values() for mount in service["volumes"]]
    for mount in mounts:
        if mount["type"] == "bind":
            assert os.path.exists(mount["source"]), mount["source"]
        else:
            assert mount["source"] in compose["volumes"]


def test_what_runs_on_starts_again(compose):
    restarts = {name: service.get("restart") for name, service in compose["services"].items()}
    assert restarts.pop("permissions") is None
    assert set(restarts.values()) == {"unless-stopped"}


def test_the_collector_that_is_tested_is_the_one_that_is_run(compose):
    manifest = yaml.safe_load((ROOT / "scripts" / "collector" / "manifest.yaml").read_text())
    assert compose["services"]["otel-collector"]["image"].endswith(f":{manifest['dist']['version']}")


def test_addresses_name_services(compose):
    """Whoever is spoken to by name listens at that port, in the configuration that its container mounts."""
    services = set(compose["services"])
    told = {
        "otel-collector-config.yaml": re.findall(
            r"endpoint: ([a-z][\w-]*):(\d+)", (ROOT / "otel-collector-config.yaml").read_text()
        ),
        "prometheus.yml": re.findall(r'"([a-z][\w-]*):(\d+)"', (ROOT / "prometheus.yml").read_text()),
        "datasources": re.findall(r"http://([\w-]+):(\d+)", json.dumps(SOURCES)),
    }
    listens = {
        "otel-collector": (ROOT / "otel-collector-config.yaml").read_text(),
        "jaeger": (ROOT / "jaeger-config.yaml").read_text(),
        "prometheus": "9090",
    }
    for file, addresses in told.items():
        assert addresses, file
        for host, port in addresses:
            assert host in services, f"{file}: {host}"
            assert port in listens[host], f"{file}: {host}:{port}"


@pytest.mark.parametrize("name", ["otel-collector-config.yaml", "otel-collector-production.yaml"])
def test_the_collector_takes_its_configuration(name, tmp_path):
    text = (ROOT / name).read_text()
    (tmp_path / "config.yaml").write_text(text.replace("/etc/otel/tokens", str(tmp_path / "tokens")))
    (tmp_path / "tokens").write_text("a token\n")
    run(program("otelcol"), "validate", "--config", tmp_path / "config.yaml", JAEGER_ENDPOINT="jaeger:4317")


def test_prometheus_takes_its_configuration(tmp_path):
    rules = {"/etc/prometheus/rules": ROOT / "prometheus"}
    (tmp_path / "prometheus.yml").write_text(rewritten(ROOT / "prometheus.yml", rules))
    run(program("promtool"), "check", "config", tmp_path / "prometheus.yml")


def test_the_rules_do_what_their_tests_say():
    run(program("promtool"), "check", "rules", "prometheus/ebpf-bot.rules.yml")
    run(program("promtool"), "test", "rules", "prometheus/ebpf-bot.rules.test.yml")


def test_every_alert_has_a_test():
    rules = yaml.safe_load((ROOT / "prometheus" / "ebpf-bot.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    tests = yaml.safe_load((ROOT / "prometheus" / "ebpf-bot.rules.test.yml").read_text())["tests"]
    fired = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each["exp_alerts"]}
    kept_quiet = {
        each["alertname"] for test in tests for each in test["alert_rule_test"] if not each["exp_alerts"]
    }
    assert fired == kept_quiet == alerts


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
class TestDashboard:
    def test_sources_are_the_provisioned_ones(self, path):
        provisioned = {source["uid"] for source in SOURCES["datasources"]}
        used = set(re.findall(r'"uid": "([\w-]+)"', path.read_text())) - {json.loads(path.read_text())["uid"]}
        assert used <= provisioned

    def test_panels_have_their_own_ids_and_places(self, path):
        panels = json.loads(path.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells = [
            (x, y)
            for panel in panels
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24

    def test_every_panel_says_what_it_shows(self, path):
        for panel in json.loads(path.read_text())["panels"]:
            assert panel["title"], panel["id"]
            assert panel["description"].endswith("."), panel["title"]

    def test_it_is_written_as_a_person_would_read_it(self, path):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_exemplars_lead_to_the_provisioned_jaeger():
    by_type = {source["type"]: source for source in SOURCES["datasources"]}
    (link,) = by_type["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert (link["name"], link["datasourceUid"]) == ("trace_id", by_type["jaeger"]["uid"])
