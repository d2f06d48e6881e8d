"""What a plan file may say, and how it is told what is wrong with it."""

import pytest

from ebpf_bot_core import EbpfBotError, PatternError, Plan, PlanError, StageChoice

FULL = """
[plan]
name = "checkout"
[[expect]]
probes = ["uprobe:/srv/checkout/bin/app:*", "syscall:openat"]
priority = 3
[[expect]]
probes = ["tracepoint:tcp:*"]
[budget]
max_attached = 4096
max_overhead = "1%"
[goal]
fail_under = 85
[stages]
injector = "libbpf"
receiver = "libbpf"
processors = ["one", { name = "two", level = 3 }]
store = { name = "sqlite", path = "coverage.db" }
policy = { name = "priority" }
"""


def parse(text: str) -> Plan:
    return Plan.parse(text, where="plan.toml")


def test_every_key_is_read():
    plan = parse(FULL)
    assert plan.name == "checkout"
    assert [str(pattern) for pattern in plan.patterns] == [
        "uprobe:/srv/checkout/bin/app:*",
        "syscall:openat",
        "tracepoint:tcp:*",
    ]
    assert [expectation.priority for expectation in plan.expect] == [3.0, 1.0]
    assert plan.budget.max_attached == 4096
    assert plan.budget.max_overhead.ratio == 0.01
    assert plan.goal.fail_under.ratio == 0.85
    assert plan.stages.processors == (StageChoice("one"), StageChoice("two", {"level": 3}))
    assert plan.stages.store == StageChoice("sqlite", {"path": "coverage.db"})


def test_defaults_of_a_short_plan():
    plan = parse('[plan]\nname = "x"\n[[expect]]\nprobes = ["syscall:*"]\n')
    assert plan.stages.injector == StageChoice("libbpf")
    assert plan.stages.store == StageChoice("sqlite")
    assert plan.budget.max_attached is None
    assert plan.goal.fail_under is None


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("max_attached", "max_atached", "unknown key 'budget.max_atached'", "did you mean 'max_attached'?"),
        ("[goal]", "[gaol]", "unknown key 'gaol'", "did you mean 'goal'?"),
        ("priority = 3", "prioritty = 3", "prioritty", "did you mean 'priority'?"),
        ("= 4096", "= 0", "max_attached must be above 0", ""),
        ("= 4096", '= "many"', "budget.max_attached", ""),
        ("= 85", "= 850", "a percentage is from 0 to 100", ""),
        ('"1%"', '"cheap"', "expected a percentage", ""),
        ('name = "checkout"', "name = 3", "plan.name", ""),
        ('name = "checkout"', "", "missing key 'plan.name'", ""),
        ('injector = "libbpf"', "injector = 3", "stages.injector", ""),
        ('["tracepoint:tcp:*"]', '"tracepoint:tcp:*"', "expected a list", ""),
        ('["tracepoint:tcp:*"]', "[]", "expect", ""),
        ("[plan]", "[plan", "not valid TOML", ""),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(old, new, message, hint):
    with pytest.raises(PlanError) as caught:
        parse(FULL.replace(old, new, 1))
    assert caught.value.message.startswith("plan.toml: ")
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_a_bad_pattern_names_file_pattern_and_the_nearest_kind():
    with pytest.raises(PatternError) as caught:
        parse(FULL.replace("syscall:openat", "sycall:openat"))
    assert "plan.toml" in caught.value.message
    assert "sycall:openat" in caught.value.message
    assert "did you mean 'syscall'?" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x = " + b"[" * 100_000])
def test_files_that_are_no_plan(tmp_path, content):
    path = tmp_path / "plan.toml"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=r"plan\.toml"):
        Plan.read(path)


def test_a_missing_file_and_a_directory(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(PlanError, match="no such plan file"):
            Plan.read(path)


def test_digest_is_of_the_meaning_not_of_the_text():
    plain = parse(FULL)
    assert plain.digest == parse("# a comment\n" + FULL.replace("= 85", "= 85.0")).digest
    assert plain.digest != parse(FULL.replace("= 85", "= 86")).digest
    assert plain.digest.startswith("sha256:")
    assert len(plain.digest) == len("sha256:") + 64


def test_from_patterns():
    plan = Plan.of(["syscall:*"])
    assert plan.name == "cli"
    assert len(plan.patterns) == 1
    with pytest.raises(EbpfBotError):
        Plan.of(["nonsense"])
