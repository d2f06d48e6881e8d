"""Grafting: what was put before a function decides, and the function does not notice."""

from __future__ import annotations

import os
import struct

import attrs
import pytest
from ebpf_bot_bcc.loading import BccLoader, create_maps
from ebpf_bot_bcc.source.grafting import graft, maps_of, with_maps
from ebpf_bot_linux import AttachType, KernelError, ProgramType, syscalls
from hypothesis import given
from hypothesis import strategies as st

MOVE, MOVE_REGISTER, ADD, JUMP, JUMP_IF, JUMP_UNLESS = 0xB7, 0xBF, 0x07, 0x05, 0x15, 0x55
LOAD, STORE, LOAD_64, EXIT = 0x79, 0x7B, 0x18, 0x95
MASK = (1 << 64) - 1
CONTEXT = 0xC0FFEE
STEPS = 500
"""More than any of these programs has instructions, and they only jump forward."""
SLOTS = (-8, -128, -240)
DEEP_SLOTS = (*SLOTS, -256, -512)


def instruction(code, to=0, source=0, off=0, imm=0):
    return struct.pack("=BBhi", code, to | source << 4, off, imm)


def load_64(to, value, source=0):
    low, high = struct.unpack("=ii", struct.pack("=Q", value & MASK))
    return instruction(LOAD_64, to, source, 0, low) + instruction(0, imm=high)


def run(program, context):  # noqa: C901 - an instruction a case
    """Run a program; return what it returns, and where it left."""
    registers = dict.fromkeys(range(10), 0xBAD) | {1: context}
    memory = {}
    at = 0
    for _ in range(STEPS):
        code, pair, off, imm = struct.unpack_from("=BBhi", program, 8 * at)
        to, source = pair & 15, pair >> 4
        at += 1
        match code:
            case 0xB7:
                registers[to] = imm & MASK
            case 0xBF:
                registers[to] = registers[source]
            case 0x07:
                registers[to] = (registers[to] + imm) & MASK
            case 0x05:
                at += off
            case 0x15:
                at += off if registers[to] == imm & MASK else 0
            case 0x55:
                at += off if registers[to] != imm & MASK else 0
            case 0x79:
                assert source == 10
                registers[to] = memory[off]
            case 0x7B:
                assert to == 10
                memory[off] = registers[source]
            case 0x18:
                (high,) = struct.unpack_from("=i", program, 8 * at + 4)
                registers[to] = (high & 0xFFFF_FFFF) << 32 | imm & 0xFFFF_FFFF
                at += 1
            case 0x95:
                return registers[0], 8 * (at - 1)
            case _:
                raise AssertionError(f"instruction {at - 1} has the code {code:#x}")
    raise AssertionError("it does not end")


@st.composite
def functions(draw, slots):
    """A function that the verifier would take: it reads nothing that it has not written, but for r1."""
    numbers = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 2)
    registers = st.integers(0, 9)
    begin = [load_64(r, draw(numbers)) for r in (0, 2, 3, 4, 5, 6, 7, 8, 9)]
    begin += [instruction(STORE, 10, draw(registers), slot) for slot in slots]
    length = draw(st.integers(0, 12))
    body = []
    for _ in range(length):
        kind = draw(
            st.sampled_from(["move", "copy", "add", "wide", "load", "store", "jump", "if", "unless", "exit"])
        )
        r, s, n, slot = draw(registers), draw(registers), draw(numbers), draw(st.sampled_from(slots))
        body.append(
            {
                "move": instruction(MOVE, r, imm=n),
                "copy": instruction(MOVE_REGISTER, r, s),
                "add": instruction(ADD, r, imm=n),
                "wide": load_64(r, draw(st.integers(0, MASK)) if draw(st.booleans()) else EXIT << 32 | EXIT),
                "load": instruction(LOAD, r, 10, slot),
                "store": instruction(STORE, 10, r, slot),
                "exit": instruction(EXIT),
            }.get(kind, (kind, r, n, draw(st.integers(0, 12))))
        )
    body.append(instruction(EXIT))
    jumps = {"jump": JUMP, "if": JUMP_IF, "unless": JUMP_UNLESS}
    sizes = [1 if isinstance(each, tuple) else len(each) // 8 for each in body]
    for i, each in enumerate(body):
        if isinstance(each, tuple):
            kind, r, n, skipped = each
            over = sum(sizes[i + 1 : min(i + 1 + skipped, len(body) - 1)])
            body[i] = instruction(
                jumps[kind], 0 if kind == "jump" else r, off=over, imm=n if kind != "jump" else 0
            )
    return b"".join(begin + body)


@given(functions(SLOTS), functions(DEEP_SLOTS), st.none() | st.integers(0, 2**31 - 1))
def test_what_is_put_before_decides_and_the_function_runs_as_if_alone(admit, function, site):
    admitted, _ = run(admit, CONTEXT if site is None else site)
    result, left = run(graft(admit, function, site), CONTEXT)
    begins = len(graft(admit, b"", site))
    if admitted:
        alone, at = run(function, CONTEXT)
        assert (result, left) == (alone, begins + at)
    else:
        assert result == 0
        assert left < begins, "the function ran"


@given(st.integers(0, 2**31 - 1))
def test_a_site_replaces_the_context_for_what_is_put_before_alone(site):
    asks = instruction(MOVE_REGISTER, 0, 1) + instruction(EXIT)
    assert run(graft(asks, asks, site), CONTEXT)[0] == (CONTEXT if site else 0)
    assert run(graft(asks, asks), CONTEXT)[0] == CONTEXT


@given(st.lists(st.tuples(st.sampled_from([0, 1, 5]), st.integers(0, 40)), max_size=8))
def test_maps_are_told_from_numbers_and_renumbered(loads):
    # The second half of a number may look like anything, a load of a map among them.
    number = 0x5118 << 32
    program = b"".join(load_64(1, place, source) + load_64(2, number) for source, place in loads)
    places = {place for source, place in loads if source == 5}
    assert maps_of(program) == places
    moved = with_maps(program, {place: place + 100 for place in places})
    assert moved == b"".join(
        load_64(1, place + 100 * (source == 5), source) + load_64(2, number) for source, place in loads
    )


# On the real kernel.

AS = [
    ("admit_code", ProgramType.KPROBE, AttachType.UPROBE_MULTI),
    ("admit_code", ProgramType.KPROBE, AttachType.NONE),
    ("admit_kprobe", ProgramType.KPROBE, AttachType.KPROBE_MULTI),
    ("admit_event", ProgramType.KPROBE, AttachType.NONE),
    ("admit_event", ProgramType.TRACEPOINT, AttachType.NONE),
    ("admit_event", ProgramType.PERF_EVENT, AttachType.NONE),
    ("admit_site", ProgramType.RAW_TRACEPOINT, AttachType.NONE),
    ("admit_site", ProgramType.KPROBE, AttachType.UPROBE_MULTI),
    ("admit_site", ProgramType.TRACEPOINT, AttachType.NONE),
]
USERS = """
BPF_ARRAY(seen, u64, 1);
int of_registers(struct pt_regs *ctx) { return PT_REGS_IP(ctx) != 0; }
int with_all_its_stack(struct pt_regs *ctx)
{
    volatile char text[480];
    for (int i = 0; i < 480; i++) text[i] = i;
    return text[bpf_get_smp_processor_id() & 255] + (PT_REGS_IP(ctx) != 0);
}
int answers(void *ctx)
{
    int zero = 0;
    u64 *n = seen.lookup(&zero);
    if (n) __sync_fetch_and_add(n, 1);
    return 42;
}
"""


@attrs.define
class Loaded:
    """A user's function behind one of ours, with the maps of both."""

    program: int
    maps: dict[str, int]

    def element(self, name, index):
        return int.from_bytes(syscalls.read_element(self.maps[name], index, 8), "little")


@pytest.fixture
def load(compiler):
    opened = []

    def load(admit, function, *, kind, attach_type=AttachType.NONE, site=None, constants=(0, 0)):
        own = BccLoader(compiler).compiled(dict(zip(("filter", "keep"), constants, strict=True)))
        users = compiler.compile(USERS, "users.c")
        maps = create_maps(own.maps, {"counts": 8, "covered": 1 << 16, "notes": 1 << 16})
        places = {place: len(maps) + place for place in range(len(users.maps))}
        maps |= create_maps(users.maps, {})
        opened.extend(maps.values())
        program = syscalls.load_program(
            graft(own.functions[admit], with_maps(users.functions[function], places), site),
            type=kind,
            attach_type=attach_type,
            map_fds=tuple(maps.values()),
            logs=True,
        )
        opened.append(program)
        return Loaded(program, maps)

    yield load
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.live
@pytest.mark.parametrize("constants", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize(("admit", "kind", "attach_type"), AS)
def test_the_verifier_takes_it_as_one_program(load, admit, kind, attach_type, constants):
    site = 3 if admit == "admit_site" else None
    of_context = kind is ProgramType.KPROBE
    for function in ("of_registers", "with_all_its_stack") if of_context else ("answers",):
        load(admit, function, kind=kind, attach_type=attach_type, site=site, constants=constants)


@pytest.mark.live
@pytest.mark.parametrize("site", [0, 3, 7])
def test_a_hit_is_counted_for_its_site_and_the_function_runs(load, site):
    loaded = load("admit_site", "answers", kind=ProgramType.RAW_TRACEPOINT, site=site)
    assert [syscalls.run_program(loaded.program) for _ in range(5)] == [42] * 5
    assert [loaded.element("counts", i) for i in range(8)] == [5 * (i == site) for i in range(8)]
    assert loaded.element("seen", 0) == 5


@pytest.mark.live
def test_out_of_scope_the_function_does_not_run(load):
    loaded = load("admit_site", "answers", kind=ProgramType.RAW_TRACEPOINT, site=3, constants=(1, 0))
    assert syscalls.run_program(loaded.program) == 0
    assert (loaded.element("counts", 3), loaded.element("seen", 0)) == (0, 0)
    word, bit = divmod(int(os.readlink("/proc/thread-self").rpartition("/")[2]), 64)
    syscalls.update_element(loaded.maps["covered"], (1 << bit).to_bytes(8, "little"), word)
    assert syscalls.run_program(loaded.program) == 42
    assert (loaded.element("counts", 3), loaded.element("seen", 0)) == (1, 1)


@pytest.mark.live
def test_the_verifier_sees_that_the_context_is_not_what_the_function_takes_it_for(load):
    with pytest.raises(KernelError) as error:
        load("admit_site", "of_registers", kind=ProgramType.RAW_TRACEPOINT, site=3)
    assert "invalid bpf_context access" in error.value.log
