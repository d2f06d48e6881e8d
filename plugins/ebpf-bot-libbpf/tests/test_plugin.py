"""The plugin's face: cheap to import, registered under one name, and its stages are what the core asks for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ebpf_bot_libbpf import plugin

from ebpf_bot_core import Diagnosis, Mode, ProbeInjector, SignalReceiver


def test_importing_it_imports_nothing_heavy():
    script = (
        "import sys, ebpf_bot_libbpf.plugin as plugin\n"
        "plugin.ebpf_bot_register_injectors(lambda name, factory, options: None)\n"
        "plugin.ebpf_bot_register_receivers(lambda name, factory: None)\n"
        "print([name for name in ('numpy', 'elftools', 'ctypes', 'ebpf_bot_linux.injector') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True, timeout=60)
    assert done.stdout == b"[]\n"


def test_injector_and_receiver_are_registered_under_one_name():
    registered = {}
    plugin.ebpf_bot_register_injectors(
        lambda name, factory, options: registered.update({("injector", name): factory(options())})
    )
    plugin.ebpf_bot_register_receivers(
        lambda name, factory: registered.update({("receiver", name): factory()})
    )
    assert registered.keys() == {("injector", "libbpf"), ("receiver", "libbpf")}
    injector, receiver = registered["injector", "libbpf"], registered["receiver", "libbpf"]
    assert isinstance(injector, ProbeInjector)
    assert isinstance(receiver, SignalReceiver)
    assert injector.modes == set(Mode)
    for stage in (injector, receiver):
        stage.close()
        stage.close()


@pytest.mark.live
def test_the_diagnoses_say_what_was_looked_at_and_how_to_mend_what_fails():
    diagnoses = list(plugin.ebpf_bot_diagnose())
    assert all(isinstance(each, Diagnosis) and each.found for each in diagnoses)
    subjects = [each.subject for each in diagnoses]
    assert len(set(subjects)) == len(subjects) == 11
    assert all(each.remedy for each in diagnoses if not each.ok)
    assert not any(each.remedy for each in diagnoses if each.ok)
