import dspy
import pytest
from dspy.utils.dummies import DummyLM

import tale_dspy
from tale_dspy.protocols import LanguageModel, Predictor, Program, PromptAdapter


@pytest.mark.parametrize("lm", [dspy.LM("openai/m"), dspy.BaseLM("m"), DummyLM([]), tale_dspy.LM("openai/m")])
def test_language_models_of_dspy_and_of_this_package_have_what_is_used_of_them(lm: LanguageModel) -> None:
    assert isinstance(lm, LanguageModel)


@pytest.mark.parametrize("make", [dspy.ChainOfThought, tale_dspy.TaleEP, tale_dspy.VanillaCoT])
def test_modules_are_programs_and_no_predictors(make: type[dspy.Module]) -> None:
    program: Program = make("question -> answer")

    assert isinstance(program, Program)
    assert not isinstance(program, Predictor)


def test_a_predict_is_a_program_and_a_predictor() -> None:
    predict: Predictor = dspy.Predict("question -> answer")

    assert isinstance(predict, Program)
    assert isinstance(predict, Predictor)


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), tale_dspy.TaleAdapter()])
def test_adapters_have_what_is_used_of_them(adapter: PromptAdapter) -> None:
    assert isinstance(adapter, PromptAdapter)
    assert not isinstance(adapter, LanguageModel)
