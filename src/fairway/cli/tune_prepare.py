"""Model, data and recipe of a training run: found, read, checked, and of one objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fairway.cli.screen import Screen

if TYPE_CHECKING:
    from fairway.cli.tune_wanted import Wanted
    from fairway.formats.bundle import Bundle
    from fairway.tune.dataset import Dataset
    from fairway.tune.recipe import Recipe
    from fairway.tune.run_folder import Facts
    from fairway.tune.settings import DataSettings


@dataclass(frozen=True)
class Prepared:
    """What a run needs of its model and its files."""

    bundle: Bundle
    base_name: str
    recipe: Recipe
    facts: Facts
    examples: list[Any]
    held_out: list[Any]
    teacher: Bundle | None = None


def prepare(wanted: Wanted, recipe: Recipe, screen: Screen) -> Prepared:
    """Reads and tokenises everything: whatever is wrong with it is said here."""
    from fairway.formats.digest import bundle_digest
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve
    from fairway.tune.dataset import open_dataset
    from fairway.tune.encode import encoder_for
    from fairway.tune.prepare_job import load_examples
    from fairway.tune.rewards import rewards_of
    from fairway.tune.run_folder import Facts, file_digest

    with screen.step(f"Found {wanted.model}", is_bytes=True) as progress:
        located = resolve(wanted.model, progress)
        bundle = open_bundle(located.path)
        digest = bundle_digest(bundle, progress).value
    files = [wanted.data] if wanted.validation is None else [wanted.data, wanted.validation]
    opened = [open_dataset(path) for path in files]
    recipe = _with_objective(recipe, opened, screen)
    encoder = encoder_for(bundle, with_length(recipe.data, bundle, screen))
    sets = []
    for data in opened:
        with screen.step(f"Read {data.path.name}") as progress:
            sets.append(load_examples(data, encoder, progress, recipe.objective))
    data, examples, held_out = opened[0], sets[0], sets[1] if len(sets) > 1 else []
    teacher, also = _teacher(recipe, bundle, screen)
    also |= {str(each.file): file_digest(each.file) for each in rewards_of(recipe.reward) if each.file}
    facts = Facts(
        model=bundle.name,
        model_digest=digest,
        data=wanted.data.name,
        data_digest=file_digest(wanted.data),
        held_out=None if wanted.validation is None else wanted.validation.name,
        held_out_digest=None if wanted.validation is None else file_digest(wanted.validation),
        num_rows=len(data),
        num_examples=len(examples),
        num_tokens=sum(map(len, examples)),
        also=also,
    )
    return Prepared(bundle, located.name or str(wanted.model), recipe, facts, examples, held_out, teacher)


def _teacher(recipe: Recipe, student: Bundle, screen: Screen) -> tuple[Bundle | None, dict[str, str]]:
    """The model to distill from, and its digest by name."""
    if recipe.teacher is None:
        return None, {}
    from fairway.formats.digest import bundle_digest
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve
    from fairway.tune.teacher import check_vocabulary

    with screen.step(f"Found {recipe.teacher}", is_bytes=True) as progress:
        teacher = open_bundle(resolve(recipe.teacher, progress).path)
        check_vocabulary(student, teacher)
        return teacher, {recipe.teacher: bundle_digest(teacher, progress).value}


def _with_objective(recipe: Recipe, opened: list[Dataset], screen: Screen) -> Recipe:
    """Said, or told by the shape of the data; both files have to fit it."""
    from fairway.tune.objective_settings import objective_for
    from fairway.tune.recipe import with_objective

    objective = recipe.objective
    for data in opened:
        holds = f"{data.path.name} holds {data.shape.name}"
        found = objective_for(objective, data.shape.objective, holds)
        if objective is None and found != "sft":
            screen.note(f"{holds}: --objective {found}.")
        objective = found
    assert objective is not None
    return with_objective(recipe, objective)


def with_length(settings: DataSettings, bundle: Bundle, screen: Screen) -> DataSettings:
    """Longest examples as the model's context has it, where nothing else is said."""
    from fairway.formats.summary import summarize

    context = summarize(bundle).context_length
    if settings.max_length is None:
        return replace(settings, max_length=context)
    if context is not None and settings.max_length > context:
        screen.note(
            f"Note: --max-length {settings.max_length:,} is more than the model's context, {context:,}."
        )
    return settings
