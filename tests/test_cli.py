"""The command line as a user meets it: a real process, its two streams and its exit status."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ebpf_bot_core import Verdict

SIMULATED = ["--backend", "simulated", "--expect", "uprobe:/usr/bin/checkout:*"]
ENVIRONMENT = {**os.environ, "ENABLE_OTLP": "false", "COLUMNS": "120"}


def bot(*arguments, cwd, env=None, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "ebpf_bot_core", *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **kwargs,
    )


def fails(result, *words):
    """Exit status 2; one line of error, one of hint; nothing else."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert lines[0].startswith("error: "), result.stderr
    assert len(lines) <= 2, result.stderr
    assert all(line.startswith("hint: ") for line in lines[1:])
    for word in words:
        assert word in result.stderr, result.stderr
    assert result.stdout == ""
    return True


def test_help_and_version(tmp_path):
    listed = bot("--help", cwd=tmp_path)
    assert listed.returncode == 0
    for command in ("run", "probes", "report", "plugins", "doctor", "completion"):
        assert command in listed.stdout
        shown = bot(command, "--help", cwd=tmp_path)
        assert shown.returncode == 0
        assert "Examples:" in shown.stdout
    assert bot("--version", cwd=tmp_path).stdout.startswith("ebpf-bot, version")


def test_the_end_is_not_spent_on_looking_for_garbage():
    code = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 10_000)); "
    code += "from ebpf_bot_core.cli import main; sys.argv[1:] = ['--version']; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.splitlines()[-1] == "True"


def test_no_command_shows_the_help(tmp_path):
    result = bot(cwd=tmp_path)
    assert result.returncode == 2
    assert "Usage: ebpf-bot" in result.stderr


def test_a_simulated_run_says_so_and_is_stored(tmp_path):
    result = bot("run", *SIMULATED, "--for", "500ms", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "backend simulated (nothing real was probed)" in result.stdout
    assert (tmp_path / ".ebpf-bot.db").exists()
    report = bot("report", cwd=tmp_path)
    assert report.returncode == 0
    assert report.stdout == result.stdout


def test_json_is_one_document_even_if_the_command_writes(tmp_path):
    result = bot("run", *SIMULATED, "--json", "--", "sh", "-c", "echo from the command", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert document["schema"] == "ebpf-bot/coverage/1"
    assert "from the command" in result.stderr
    assert document["totals"]["expected"] == len(document["probes"])
    assert sum(document["totals"][verdict.label] for verdict in Verdict) == document["totals"]["expected"]
    run = document["runs"][0]
    assert (run["backend"], run["exit_status"], run["command"][0]) == ("simulated", 0, "sh")


def test_the_command_keeps_its_streams_and_its_status(tmp_path):
    result = bot(
        "run",
        *SIMULATED,
        "--",
        "sh",
        "-c",
        "cat; echo wrong >&2; exit 7",
        cwd=tmp_path,
        input="through stdin\n",
    )
    assert result.returncode == 7
    assert result.stdout.startswith("through stdin\n")
    assert result.stderr == "wrong\n"


def test_a_command_that_a_signal_ended(tmp_path):
    result = bot("run", *SIMULATED, "--", "sh", "-c", "kill -KILL $$", cwd=tmp_path)
    assert result.returncode == 128 + 9


def test_the_words_of_the_command_are_its_own(tmp_path):
    result = bot("run", *SIMULATED, "--", "echo", "--json", "--help", "--", "x", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith("--json --help -- x\n")


def test_the_gate(tmp_path):
    failed = bot("run", *SIMULATED, "--for", "300ms", "--fail-under", "100", cwd=tmp_path)
    assert failed.returncode == 1
    assert "coverage gate failed" in failed.stderr
    assert "100% are demanded" in failed.stderr
    assert bot("run", *SIMULATED, "--for", "300ms", "--fail-under", "1%", cwd=tmp_path).returncode == 0
    over = bot("run", *SIMULATED, "--fail-under", "100", "--", "sh", "-c", "exit 7", cwd=tmp_path)
    assert over.returncode == 1, "the gate speaks before the command"


def test_a_plan_with_a_goal_and_more_expected_on_the_line(tmp_path):
    (tmp_path / "plan.toml").write_text(
        '[plan]\nname = "shop"\n[[expect]]\nprobes = ["uprobe:/usr/bin/checkout:main"]\n[goal]\nfail_under = 100\n'
        '[stages]\ninjector = "simulated"\nstore = { name = "file", path = "evidence" }\n'
    )
    result = bot("run", "plan.toml", "--expect", "syscall:openat", "--for", "1s", "--json", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert document["plan"]["name"] == "shop"
    assert [probe["probe"] for probe in document["probes"]] == [
        "uprobe:/usr/bin/checkout:main",
        "syscall:openat",
    ]
    assert (tmp_path / "evidence").is_dir()
    report = bot("report", "--store", "file:evidence", "--format", "json", cwd=tmp_path)
    assert json.loads(report.stdout)["probes"] == document["probes"]


def test_reports_of_several_runs(tmp_path):
    for _ in range(2):
        bot("run", *SIMULATED, "--for", "200ms", cwd=tmp_path)
    both = json.loads(bot("report", "--format", "json", cwd=tmp_path).stdout)
    last = json.loads(bot("report", "--last", "--format", "json", cwd=tmp_path).stdout)
    assert len(both["runs"]) == 2
    assert last["runs"] == both["runs"][1:]
    first_id = both["runs"][0]["id"]
    assert json.loads(bot("report", "--run", first_id, "--format", "json", cwd=tmp_path).stdout)["runs"] == [
        both["runs"][0]
    ]
    assert both["signals"] > last["signals"]
    written = bot("report", "-o", "map.txt", cwd=tmp_path)
    assert written.stdout == ""
    text = (tmp_path / "map.txt").read_text()
    assert text == bot("report", cwd=tmp_path).stdout
    assert "why not" in text
    assert not any(line.endswith(" ") for line in text.splitlines())
    assert sorted(os.listdir(tmp_path)) == sorted(
        {".ebpf-bot.db", "map.txt"} | set(os.listdir(tmp_path)) & {".ebpf-bot.db-wal", ".ebpf-bot.db-shm"}
    ), "no temporary file stays"


def test_probes_lists_and_counts_the_rest_on_stderr(tmp_path):
    result = bot("probes", "uprobe:/usr/bin/checkout:*", "--backend", "simulated", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith("uprobe:/usr/bin/checkout:main\n")
    assert "1 excluded (imported)" in result.stderr
    document = json.loads(
        bot("probes", "uprobe:/usr/bin/checkout:*", "--backend", "simulated", "--json", cwd=tmp_path).stdout
    )
    assert document["schema"] == "ebpf-bot/probes/1"
    assert {probe["verdict"] for probe in document["probes"]} == {"pending", "excluded"}
    nothing = bot("probes", "uprobe:/usr/bin/nothing:*", "--backend", "simulated", cwd=tmp_path)
    assert nothing.returncode == 2
    assert nothing.stdout == ""


def test_plugins_and_doctor(tmp_path):
    listed = json.loads(bot("plugins", "--json", cwd=tmp_path).stdout)
    assert listed["schema"] == "ebpf-bot/plugins/1"
    assert {"libbpf", "simulated", "sqlite", "file"} <= {plugin["name"] for plugin in listed["plugins"]}
    assert all(plugin["error"] is None for plugin in listed["plugins"])
    told = json.loads(bot("doctor", "--json", cwd=tmp_path).stdout)
    assert told["schema"] == "ebpf-bot/doctor/1"
    assert {"kernel", "plugins", "OTLP export"} <= {check["subject"] for check in told["checks"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], ["nothing is expected", "--expect"]),
        (["run", "--expect", "nonsense"], ["malformed probe pattern", "known kinds"]),
        (["run", "--expect", "sycall:x"], ["did you mean 'syscall'?"]),
        (["run", "missing.toml"], ["missing.toml: no such plan file"]),
        (["run", "bad.toml"], ["bad.toml: unknown key 'budget.max_atached'", "did you mean 'max_attached'?"]),
        (
            ["run", "--expect", "syscall:x", "--backend", "simulatd"],
            ["unknown injector", "did you mean 'simulated'?"],
        ),
        (["run", "--expect", "syscall:x", "--policy", "nope"], ["unknown policy 'nope'", "priority"]),
        (["run", *SIMULATED, "--store", "sqlit:x"], ["unknown store 'sqlit'", "did you mean 'sqlite'?"]),
        (["run", *SIMULATED, "--store", "sqlite:no/such/folder/x.db"], ["no/such/folder"]),
        (["run", *SIMULATED, "--for", "soon"], ["not a duration"]),
        (["run", *SIMULATED, "--fail-under", "101"], ["percentage"]),
        (["run", *SIMULATED, "--mode", "both"], ["count", "stream"]),
        (["run", *SIMULATED, "--"], ["no command stands behind --"]),
        (["run", *SIMULATED, "--", "no-such-command"], ["no-such-command: command not found"]),
        (["run", *SIMULATED, "plan", "extra"], ["extra"]),
        (
            ["run", "--backend", "simulated", "--expect", "uprobe:/nothing/here:*"],
            ["nothing of the plan can be attached"],
        ),
        (["report"], ["no store at", "ebpf-bot run"]),
        (["report", "--format", "pdf"], ["unknown report 'pdf'", "json"]),
        (["probes", "x"], ["malformed probe pattern"]),
        (["rnu"], ["No such command", "run"]),
    ],
)
def test_bad_input_is_one_line_and_a_hint(tmp_path, arguments, words):
    (tmp_path / "bad.toml").write_text(
        '[plan]\nname = "x"\n[[expect]]\nprobes = ["syscall:*"]\n[budget]\nmax_atached = 1\n'
    )
    assert fails(bot(*arguments, cwd=tmp_path), *words)
    assert os.listdir(tmp_path) in (["bad.toml"], ["bad.toml", ".ebpf-bot.db"], [".ebpf-bot.db", "bad.toml"])


def test_debug_shows_where(tmp_path):
    result = bot("--debug", "run", "missing.toml", cwd=tmp_path)
    assert "Traceback" in result.stderr
    assert result.returncode == 2


def test_a_broken_plugin_stops_only_a_run_that_asks_for_it(tmp_path):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ebpf_bot]\nbroken = broken_module\n")
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('it does not work here')\n")
    env = {"PYTHONPATH": str(tmp_path)}
    work = tmp_path / "work"
    work.mkdir()
    assert bot("run", *SIMULATED, "--for", "100ms", cwd=work, env=env).returncode == 0
    assert "RuntimeError: it does not work here" in bot("plugins", cwd=work, env=env).stdout
    asked = bot("run", "--expect", "syscall:x", "--backend", "broken", cwd=work, env=env)
    assert fails(asked, "broken failed to load", "it does not work here")
    off = bot("plugins", "--json", cwd=work, env=env | {"EBPF_BOT_DISABLE_PLUGINS": "broken"})
    assert "broken" not in {plugin["name"] for plugin in json.loads(off.stdout)["plugins"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [[], ["--", "sleep", "60"]])
def test_a_signal_ends_the_run_with_its_report(tmp_path, number, command):
    process = subprocess.Popen(
        [sys.executable, "-m", "ebpf_bot_core", "run", *SIMULATED, "--expect", "syscall:never", *command],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may ignore SIGINT, and what is ignored is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / ".ebpf-bot.db").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == (128 + number if command else 0), err
    assert "probes fired" in out
    document = json.loads(bot("report", "--format", "json", cwd=tmp_path).stdout)
    assert document["runs"][0]["finished"]


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    bot("run", *SIMULATED, "--for", "100ms", cwd=tmp_path)
    result = subprocess.run(
        f"{sys.executable} -m ebpf_bot_core report --format json | head -1",
        shell=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout == "{\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(tmp_path, shell):
    assert "_EBPF_BOT_COMPLETE" in bot("completion", shell, cwd=tmp_path).stdout
    complete = {
        "_EBPF_BOT_COMPLETE": "bash_complete",
        "COMP_WORDS": "ebpf-bot run --backend sim",
        "COMP_CWORD": "3",
    }
    assert "simulated" in bot(cwd=tmp_path, env=complete).stdout
