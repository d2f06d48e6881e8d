"""A real run, of libcrypto's functions under a real openssl: its trace, its log line and its numbers at the far end."""

from __future__ import annotations

import json
import shutil

import pytest

from ebpf_bot_core import Verdict
from ebpf_bot_core.telemetry import names

from ..telemetry.otlp_receiver import ebpf_bot
from .local_stack import plain
from .programs import eventually


@pytest.mark.live
def test_libcrypto_under_openssl(stack, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is what is covered")
    (tmp_path / "data").write_bytes(bytes(1000))
    ended = ebpf_bot(
        "run", "--expect", "uprobe:libcrypto:EVP_*", "--json", "--store", "sqlite:coverage.db",
        "--", "openssl", "dgst", "-sha256", str(tmp_path / "data"),
        cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=stack.endpoint,
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    report = json.loads(ended.stdout)
    run = report["runs"][0]
    spans = eventually(lambda: stack.trace(run["trace_id"]))
    (root,) = [span for span in spans if not span.get("parentSpanId")]
    below = {span["name"]: span for span in spans if span.get("parentSpanId") == root["spanId"]}
    assert (root["name"], set(below)) == (
        names.STEP,
        {names.GET_COVERAGE, names.DECIDE, names.INJECT, names.RECEIVE, names.STORE_SAVE},
    )
    attached = plain(below[names.INJECT]["attributes"])
    assert attached[names.PLUGIN_NAME] == "libbpf"
    assert attached[names.PROBES_ATTACHED] > 500

    # What comes after the first step links to it.
    later = [
        span
        for span in stack.spans()
        if any(link["spanId"] == root["spanId"] for link in span.get("links", ()))
    ]
    steps = sorted(
        plain(span["attributes"])[names.STEP_NUMBER] for span in later if span["name"] == names.STEP
    )
    assert steps == list(range(2, run["steps"] + 1))

    (line,) = [record for record in stack.log_records() if record["traceId"] == run["trace_id"]]
    assert line["spanId"] == root["spanId"]

    instance = root["resource"]["service.instance.id"]
    (ratio,) = eventually(lambda: stack.query(f'ebpf_bot_coverage_ratio{{instance="{instance}"}}'))
    assert float(ratio["value"][1]) == pytest.approx(report["ratio"], abs=1e-6)
    probes = stack.query(f'ebpf_bot_probes{{instance="{instance}"}} > 0')
    verdicts: dict[str, int] = {}
    for each in probes:
        verdict = each["metric"]["ebpf_bot_verdict"]
        verdicts[verdict] = verdicts.get(verdict, 0) + int(each["value"][1])
    reported = {verdict.label: report["totals"][verdict.label] for verdict in Verdict}
    assert verdicts == {verdict: count for verdict, count in reported.items() if count}
