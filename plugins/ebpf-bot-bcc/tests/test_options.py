"""Options: what a plan may say, and the one line that says what is wrong with it."""

from __future__ import annotations

import attrs
import pytest
from ebpf_bot_bcc.options import BccOptions

from ebpf_bot_core import PlanError, Plugins


def read(**table):
    """As a plan's table for the injector is read."""
    return attrs.evolve(Plugins().get("injector", "bcc"), factory=lambda options: options).build(table)


def test_nothing_is_needed():
    assert read() == BccOptions()


@pytest.mark.parametrize("given", ["uprobe:/bin/x:f", ["uprobe:/bin/x:f"]])
def test_one_pattern_is_a_list_of_one(given):
    assert read(source="a.c", attach={"on_f": given}).attach == {"on_f": ("uprobe:/bin/x:f",)}


def test_a_function_may_have_several_patterns():
    attach = read(source="a.c", attach={"f": ["kprobe:a", "kprobe:b"], "g": "kprobe:c"}).attach
    assert attach == {"f": ("kprobe:a", "kprobe:b"), "g": ("kprobe:c",)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"source": 3}, "source"),
        ({"source": "a.c", "attach": "kprobe:f"}, "attach"),
        ({"source": "a.c", "attach": ["kprobe:f"]}, "attach"),
        ({"source": "a.c", "attach": {"f": 3}}, "attach.f"),
        ({"source": "a.c", "attach": {"f": ["kprobe:a", 3]}}, "attach.f"),
        ({"source": "a.c", "attach": {"f": {"probe": "kprobe:a"}}}, "attach.f"),
        ({"source": "a.c", "cflags": "-DX=1"}, "cflags"),
        ({"source": "a.c", "cflags": [1]}, "cflags"),
        ({"module": ["/usr"]}, "module"),
        ({"sorce": "a.c"}, "sorce"),
        ({"attach": {"f": "kprobe:f"}}, "source"),
        ({"cflags": ["-DX=1"]}, "source"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(wrong, said):
    with pytest.raises(PlanError) as error:
        read(**wrong)
    assert said in error.value.message
    assert error.value.message.startswith("bcc: ")
    assert "\n" not in error.value.message
