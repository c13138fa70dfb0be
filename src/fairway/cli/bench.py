"""`fairway bench MODEL`: how fast it reads and writes here, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP, engine_options, engine_settings, json_option
from fairway.cli.prepare import Planned, plan_model
from fairway.cli.screen import Screen, screen_for
from fairway.errors import UsageError

if TYPE_CHECKING:
    from fairway.cli.bench_limits import Machine, Shares
    from fairway.kernels.machine_limits import MachineLimits
    from fairway.map.measure import Measured, Prompts, Rates, Spread, Workload
    from fairway.map.settings import PlanSettings
    from fairway.runtimes.loading import Loaded


def _sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """`1,8,32` as numbers."""
    try:
        sizes = tuple(int(part) for part in value.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise click.BadParameter(f"{value!r} is not a list of sizes; write for example 1,8,32.", ctx, param)
    return sizes


@click.command(context_settings=HELP)
@click.argument("model", required=False)
@click.option("--prompt", default=512, show_default=True, type=click.IntRange(1), help="Tokens each reads.")
@click.option("--generate", default=64, show_default=True, type=click.IntRange(2), help="Tokens each writes.")
@click.option(
    "--batch",
    default="1,8,32",
    show_default=True,
    metavar="N,N,...",
    callback=_sizes,
    help="Requests at once.",
)
@click.option(
    "--repeat", default=3, show_default=True, type=click.IntRange(1), help="Times each is measured."
)
@click.option("--limits", is_flag=True, help="Measure the machine too: each phase's share of what it can do.")
@click.option("--http", is_flag=True, help="Measure over HTTP as well, with streaming clients.")
@engine_options
@json_option
def bench(model: str | None, batch: tuple[int, ...], **flags: Any) -> None:  # noqa: ANN401
    """Measure how fast MODEL reads and writes on this machine.

    Every figure is the median of several runs with prompts that were never seen before. MODEL may
    also be random:qwen2.5-0.5b: that shape with random weights.
    """
    from fairway.cli.bench_limits import print_shares
    from fairway.map.measure import Workload
    from fairway.runtimes.loading import load_engine

    as_json = flags["as_json"]
    screen = screen_for(as_json)
    workloads = [Workload(flags["prompt"], flags["generate"], size) for size in batch]
    planned = _plan(model, _roomy(engine_settings(flags), workloads), screen)
    if not as_json:
        click.echo("\n".join(f"  {name.ljust(9)}{text}" for name, text in planned.plan.lines()), err=True)
    with screen.step("Prepared the weights") as progress:
        loaded = load_engine(planned.bundle, planned.plan.native_options(planned.name), progress, screen.note)
    machine = _machine(loaded, screen) if flags["limits"] else None
    measured, shares = _measure(loaded, workloads, flags, machine, screen)
    _remember(planned, measured)
    if as_json:
        rows = [each.to_dict() for each in measured]
        for row, share in zip(rows, shares, strict=False):
            row |= share.to_dict()
        click.echo(json.dumps(rows, indent=1))
        return
    _print(measured)
    if machine is not None:
        print_shares(machine.limits, shares)


def _remember(planned: Planned, measured: Sequence[Measured]) -> None:
    """For `fairway plan --history`."""
    from fairway.map.compare import remember_speed
    from fairway.map.speed import Load

    for each in measured:
        load = Load(each.workload.prompt, each.workload.generate, each.workload.batch)
        rates = {name: spread.median for name, spread in each.rates.items()}
        remember_speed("bench", planned.name, planned.bundle, planned.plan, load, rates)


def _plan(model: str | None, settings: PlanSettings, screen: Screen) -> Planned:
    from fairway.map.planner import plan
    from fairway.map.probe import probe
    from fairway.map.random_models import PREFIX, random_model

    if model is None or not model.startswith(PREFIX):
        return plan_model(model, settings, screen)
    bundle = random_model(model)
    return Planned(model, bundle, plan(bundle, probe(), settings))


def _roomy(settings: PlanSettings, workloads: Sequence[Workload]) -> PlanSettings:
    """Enough sequences for the largest batch."""
    return replace(settings, max_sequences=max(settings.max_sequences, *(each.batch for each in workloads)))


def _machine(loaded: Loaded, screen: Screen) -> Machine:
    from fairway.cli.bench_limits import Machine

    with screen.step("Measured the machine"):
        return Machine(loaded.options.isa, loaded.options.threads)


def _measure(
    loaded: Loaded,
    workloads: Sequence[Workload],
    flags: Mapping[str, Any],
    machine: Machine | None,
    screen: Screen,
) -> tuple[list[Measured], list[Shares]]:
    """Offline first, beside the machine where it is wanted, then (the engine changes hands) over HTTP."""
    from fairway.cli.bench_limits import Shares
    from fairway.map.measure import Measured, Prompts

    prompts, repeat = Prompts(loaded.model.vocab_size), flags["repeat"]
    _check_sizes(loaded, workloads)
    rates, shares = [], []
    for work in workloads:
        seen, limits = _offline(loaded, work, repeat, prompts, machine, screen)
        rates.append(_rates(seen))
        if machine is not None:
            shares.append(Shares.of(work, list(zip(seen, limits, strict=True)), loaded, machine))
    if flags["http"]:
        over_http = _over_http(loaded, workloads, repeat, prompts, screen)
        rates = [before | after for before, after in zip(rates, over_http, strict=True)]
    return [Measured(work, each) for work, each in zip(workloads, rates, strict=True)], shares


def _offline(
    loaded: Loaded, work: Workload, repeat: int, prompts: Prompts, machine: Machine | None, screen: Screen
) -> tuple[list[Rates], list[MachineLimits]]:
    from fairway.map.measure import measure_engine

    seen, limits = [], []
    with screen.step(f"Measured batch {work.batch}") as progress:
        for done in range(repeat):
            progress(done, repeat, "")
            seen.append(measure_engine(loaded.engine, work, prompts))
            if machine is not None:
                limits.append(machine.since_last())
    return seen, limits


def _rates(seen: Sequence[Rates]) -> dict[str, Spread]:
    from fairway.map.measure import Spread

    return Spread.named(
        prefill_tokens_per_s=[each.prefill for each in seen],
        decode_tokens_per_s=[each.decode for each in seen],
        output_tokens_per_s=[each.output for each in seen],
        between_steps_s=[each.between_steps_s for each in seen],
    )


def _over_http(
    loaded: Loaded, workloads: Sequence[Workload], repeat: int, prompts: Prompts, screen: Screen
) -> list[dict[str, Any]]:
    from fairway.map.measure import Spread
    from fairway.map.measure_http import measure_http
    from fairway.map.step_clock import clocked
    from fairway.runtimes.loading import runtime_over
    from fairway.server.app import create_app
    from fairway.server.model_table import ModelTable
    from fairway.server.run import ServerThread
    from fairway.server.settings import ServerSettings

    name = loaded.options.name
    rows = []
    with clocked(loaded.engine) as clock:
        runtime = runtime_over(loaded)
        with ServerThread(
            create_app(ModelTable({name: runtime}), ServerSettings(port=0, fine_tuning=False))
        ) as server:
            for work in workloads:
                with screen.step(f"Measured batch {work.batch} over HTTP") as progress:
                    seen, between = [], []
                    for done in range(repeat):
                        progress(done, repeat, "")
                        seen.append(measure_http(server.url, name, work, prompts))
                        between.append(clock.take(work.batch))
                rows.append(
                    Spread.named(
                        http_output_tokens_per_s=[each.output for each in seen],
                        http_first_token_s=[each.first_token_s for each in seen],
                        http_gap_s=[each.gap_s for each in seen],
                        http_between_steps_s=between,
                    )
                )
        runtime.close()
    return rows


def _check_sizes(loaded: Loaded, workloads: Sequence[Workload]) -> None:
    """A workload that would be refused or preempted measures nothing."""
    context = loaded.options.context
    cache = loaded.options.num_blocks * loaded.options.block_size
    for work in workloads:
        if work.prompt + work.generate > context:
            raise UsageError(
                f"--prompt {work.prompt} and --generate {work.generate} exceed the context of {context}.",
                hint=f"Try --prompt {max(1, context - work.generate)}.",
            )
        if work.num_tokens > cache:
            raise UsageError(
                f"A batch of {work.batch} needs {work.num_tokens:,} tokens of cache; {cache:,} are planned.",
                hint="Try a smaller --batch, or --kv-share 1.",
            )


# key -> (title, factor): times are shown in milliseconds.
COLUMNS = {
    "prefill_tokens_per_s": ("prefill", 1),
    "decode_tokens_per_s": ("decode", 1),
    "output_tokens_per_s": ("output", 1),
    "between_steps_s": ("between ms", 1000),
    "http_output_tokens_per_s": ("HTTP output", 1),
    "http_first_token_s": ("TTFT ms", 1000),
    "http_gap_s": ("gap ms", 1000),
    "http_between_steps_s": ("between ms", 1000),
}
LEGEND = (
    "Tokens per second of the whole batch: median ± half the middle spread. Between: from the end of one\n"
    "decoding step of the model to the start of the next."
)


def _print(measured: Sequence[Measured]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    names = [name for name in COLUMNS if any(name in each.rates for each in measured)]
    for title in ("batch", *(COLUMNS[name][0] for name in names)):
        table.add_column(title, justify="right")
    for each in measured:
        cells = [_cell(each.rates.get(name), COLUMNS[name][1]) for name in names]
        table.add_row(str(each.workload.batch), *cells)
    console = Console(highlight=False)
    console.print(table)
    console.print(LEGEND, style="dim")


def _cell(spread: Spread | None, factor: int) -> str:
    if spread is None:
        return "–"
    value = spread.median * factor
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} ±{50 * spread.relative:.0f}%"
