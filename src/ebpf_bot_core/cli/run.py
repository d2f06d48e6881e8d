"""ebpf-bot run: attach what is expected, record what fires, keep it, and judge it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ebpf_bot_core.cli.words import (
    complete_plugin,
    complete_probe,
    complete_store,
    duration,
    percent,
    store,
)

if TYPE_CHECKING:
    from ebpf_bot_core.plan import Percent, Plan

__all__ = ["run"]


class _CoveringCommand(click.Command):
    """Takes what stands behind `--` as the command to cover, so that its words are never taken for ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = ()
        if "--" in args:
            at = args.index("--")
            args, ctx.obj = args[:at], tuple(args[at + 1 :])
            if not ctx.obj:
                raise click.UsageError("no command stands behind --", ctx)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- CMD ...]"]


@click.command(cls=_CoveringCommand)
@click.argument("plan", required=False, type=click.Path())
@click.option(
    "--expect",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_probe,
    help="Expect these probes; may be repeated.",
)
@click.option(
    "--backend",
    shell_complete=complete_plugin("injector"),
    help="Injector and receiver.  [default: the plan's, libbpf]",
)
@click.option(
    "--store",
    type=store,
    shell_complete=complete_store,
    help="Where to keep it.  [default: the plan's, sqlite:.ebpf-bot.db]",
)
@click.option(
    "--policy",
    shell_complete=complete_plugin("policy"),
    help="What to attach first.  [default: the plan's, priority]",
)
@click.option("--mode", type=click.Choice(["count", "stream"]), default="count", show_default=True)
@click.option("--keep", is_flag=True, help="Leave fired probes attached and count every hit.")
@click.option("--for", "seconds", type=duration, metavar="TIME", help="Stop after 30s, 500ms, 5m or 1h.")
@click.option("--fail-under", type=percent, metavar="PCT", help="Exit with 1 under this coverage.")
@click.option(
    "--max-overhead",
    type=percent,
    metavar="PCT",
    help="Take off the costliest probes where all cost more of a CPU.  [default: the plan's, none]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the policy's chance.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout; CMD's own stdout goes to stderr."
)
@click.pass_context
def run(ctx: click.Context, /, plan: str | None, expect: tuple[str, ...], **options: Any) -> int:
    """Run a plan: attach its probes, record which fire, and store the coverage map.

    With CMD, that command and all its children are covered, and no one else. Without, the whole host is, until
    --for is over, every probe has fired, or Ctrl-C.

    \b
    Exit status: 0 done; 1 coverage is under --fail-under; 2 bad usage, plan or environment;
    else that of CMD, 128+n if signal n ended it.

    \b
    Examples:
      ebpf-bot run --expect 'uprobe:libcrypto:EVP_*' -- openssl dgst -sha256 /etc/passwd
      ebpf-bot run --expect 'uprobe:./app:*' --keep --json -- ./app > coverage.json
      ebpf-bot run --expect 'syscall:*' --for 10s
      ebpf-bot run plan.toml --fail-under 85 --store sqlite:coverage.db -- make test
    """
    from ebpf_bot_core.cli.covering import cover  # noqa: PLC0415 - `--help` must not wait for numpy

    chosen = _plan(plan, expect, options)
    return cover(
        chosen,
        ctx.obj,
        mode=options["mode"],
        keep=options["keep"],
        seconds=options["seconds"],
        seed=options["seed"],
        as_json=options["as_json"],
        stream=sys.stdout,
    )


def _plan(path: str | None, expect: tuple[str, ...], options: dict[str, Any]) -> Plan:
    """Return the plan file, changed by what the command line says."""
    import attrs  # noqa: PLC0415 - likewise

    from ebpf_bot_core.plan import Goal, Plan, StageChoice  # noqa: PLC0415

    if path is None and not expect:
        raise click.UsageError("nothing is expected: give a plan, or --expect PATTERN")
    extra = Plan.of(expect) if expect else None
    if path is None:
        plan = extra
    else:
        plan = Plan.read(path)
        plan = attrs.evolve(plan, expect=plan.expect + (extra.expect if extra else ()))
    assert plan is not None  # noqa: S101 - for the type checker: one of the two was given
    stages = plan.stages
    if options["backend"]:
        stages = attrs.evolve(stages, injector=StageChoice(options["backend"]), receiver=None)
    if options["policy"]:
        stages = attrs.evolve(stages, policy=StageChoice(options["policy"]))
    if options["store"]:
        stages = attrs.evolve(stages, store=options["store"])
    budget = plan.budget
    if options["max_overhead"] is not None:
        budget = attrs.evolve(budget, max_overhead=options["max_overhead"])
    fail_under: Percent | None = options["fail_under"]
    goal = plan.goal if fail_under is None else Goal(fail_under)
    return attrs.evolve(plan, stages=stages, budget=budget, goal=goal)
