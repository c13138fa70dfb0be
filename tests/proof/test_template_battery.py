"""Prompts byte for byte, and what ends an answer."""

from dataclasses import replace

from proof_models import builtin

from fairway.formats.bundle import GenerationDefaults, Preset
from fairway.proof.template_battery import compare_answering, compare_templates
from fairway.text.loader import load_tokenizer


def compared(template):
    bundle = builtin()
    tokenizer = load_tokenizer(bundle.tokenizer)
    return compare_templates(bundle, replace(bundle, chat_template=template), tokenizer, tokenizer)


def test_the_same_template_renders_the_same():
    found = compared(builtin().chat_template)
    assert found.is_same and found.num_conversations >= 30
    assert found.num_refused < found.num_conversations / 2


def test_one_changed_character_is_found_where_it_stands():
    found = compared(builtin().chat_template.replace("'<|end|>'", "'<|end|>\\n'"))
    assert not found.is_same and found.num_differing > 20
    first = found.first[0]
    assert first.source_text != first.target_text
    assert "\n" in first.target_text


def test_a_lost_template_is_no_match_even_where_prompts_agree():
    found = compared(None)
    assert found.source_has_one and not found.target_has_one and not found.is_same


def test_a_template_that_refuses_differs_from_one_that_renders():
    found = compared("{{ raise_exception('no') }}" + builtin().chat_template)
    assert found.num_differing == found.num_conversations
    assert "refuses" in found.first[0].target_text


def test_end_of_text_ids_and_sampling_defaults():
    bundle = builtin()
    same = compare_answering(bundle, replace(bundle, end_of_text_ids=bundle.end_of_text_ids[::-1]))
    assert same.source_end_of_text_ids == same.target_end_of_text_ids and not same.defaults
    float32 = replace(bundle.generation, top_p=0.949999988079071)
    assert not compare_answering(bundle, replace(bundle, generation=float32)).defaults
    lost = compare_answering(bundle, replace(bundle, end_of_text_ids=(2,), generation=GenerationDefaults()))
    assert lost.target_end_of_text_ids == (2,)
    assert lost.defaults["temperature"] == (0.5, None)


def test_a_modelfiles_system_prompt_is_a_difference_where_presets_count():
    bundle = builtin()
    changed = replace(bundle, preset=Preset(system="Be brief.", stop=("\n",)))
    found = compare_answering(bundle, changed, with_presets=True).defaults
    assert found == {"system": (None, "Be brief."), "stop": ((), ("\n",))}
    assert not compare_answering(bundle, changed).defaults
    assert not compare_answering(bundle, replace(bundle, preset=Preset()), with_presets=True).defaults
