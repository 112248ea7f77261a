"""TaleAdapter: the paper's prompts for any DSPy signature.

Nothing is added to them; other prompt forms work on more models.

For `question -> answer` and `question -> choice` the prompts without a budget are the paper's, character for character,
and so are those with one in the form `paper`; the reply carries no markers. Which prompt is sent follows from the
signature alone:

* no `reasoning` output field          -> the direct prompt
* ... taken out by `fields.after_thought` -> the question and the format: the model thinks natively
* a `reasoning` field                  -> "Let's think step by step:"
* ... and an input field `token_budget` -> "... and use less than {token_budget} tokens:", or as its form says
* ... and an output field `token_budget` -> "First state the minimum number of tokens that you need ...", or likewise
* one output field `token_budget`      -> the budget estimator (instructions, then the bare question)

The wordings are in `tale_dspy.prompts` and, for single fields, `tale_dspy.fields`; how a reply is read, in
`tale_dspy.replies`. Nothing raises on what a model wrote.
"""

from copy import copy
from typing import Any

from dspy import Adapter, BaseLM, ChatAdapter, Signature, settings
from pydantic import ValidationError

from tale_dspy.answers.thought_tags import split_thought
from tale_dspy.backends.lm import LM
from tale_dspy.budget import read_budget, split_stated
from tale_dspy.dspy_bridge import capabilities_planned
from tale_dspy.errors import UsageError
from tale_dspy.fields import default, described, is_short, thought, title, wanted_format, was_thought
from tale_dspy.prompt_forms import DEFAULT_FORM, PAPER, prompt_form
from tale_dspy.prompts import STATED, TASK_PROMPTS, TaskPrompt, task_names
from tale_dspy.protocols import CallArguments, JsonObject
from tale_dspy.replies import read_fields
from tale_dspy.reply_sections import brackets
from tale_dspy.task_signature import (
    BUDGET,
    REASONING,
    demo_lacks,
    input_fields,
    input_rows,
    input_text,
    is_choice,
    is_estimator,
    output_fields,
    output_text,
    own_instructions,
    shown_inputs,
    states_budget,
    visible_outputs,
)

SYSTEM = "You are a helpful assistant."

_HEADER = f"[[ ## {REASONING} ## ]]"


class TaleAdapter(ChatAdapter):  # type: ignore[misc]  # dspy ships no types
    """Render one user message and read the last `[[...]]` of the reply.

    Instructions are rendered, as the first paragraph, only where they differ from DSPy's generated sentence. Short
    outputs (str, number, bool, Literal) are asked for in double brackets; all others (list, dict, Pydantic, code,
    tools) are written and read as `dspy.ChatAdapter` does. A field that cannot be read is None, an empty reply too;
    there is never a second call.

    Args:
        form: How reasoning within a budget is asked for (`tale_dspy.prompt_forms.PROMPT_FORMS`). `paper` sends the paper's
            wording, character for character. None takes the form the LM of a call was trained on (the embedded model on
            the paper's), and `DEFAULT_FORM` for every other.
        task: The paper's wording for a kind of data set (`tale_dspy.prompts.TASK_PROMPTS`), such as `choice-zh` or
            `gpqa`. None takes `choice` for a choice signature and `answer` for every other.
        **kwargs: Passed on to `dspy.ChatAdapter`.

    Raises:
        UsageError: If there is no such form or task.

    Example:
        >>> import dspy
        >>> sig = dspy.Signature("question, token_budget: int -> reasoning, answer")
        >>> print(TaleAdapter("paper").format(sig, [], {"question": "1+1?", "token_budget": 9})[1]["content"])
        Q: 1+1?
        Please Give the response by strictly following this format: [[answer]], for example: Answer: [[50]].Let's think step by step and use less than 9 tokens:
        <BLANKLINE>
    """  # noqa: E501

    def __init__(self, form: str | None = None, *, task: str | None = None, **kwargs: Any) -> None:
        if form is not None:
            prompt_form(form)
        if task is not None and task not in TASK_PROMPTS:
            raise UsageError(f"task must be one of {task_names()}, got {task!r}")
        super().__init__(use_json_adapter_fallback=False, **kwargs)
        self.form = form
        self.task = task

    def for_lm(self, lm: object) -> "TaleAdapter":
        """Return this adapter with the form that calls of `lm` are sent in."""
        form = lm.prompt_form if isinstance(lm, LM) else None
        if self.form is not None or form is None:
            return self
        chosen = copy(self)
        chosen.form = form
        return chosen

    def __call__(self, lm: BaseLM, lm_kwargs: CallArguments, *args: Any, **kwargs: Any) -> list[JsonObject]:
        _refuse_listeners()
        result: list[JsonObject] = super(TaleAdapter, self.for_lm(lm)).__call__(lm, lm_kwargs, *args, **kwargs)
        return result

    async def acall(self, lm: BaseLM, lm_kwargs: CallArguments, *args: Any, **kwargs: Any) -> list[JsonObject]:
        _refuse_listeners()
        with capabilities_planned(lm, lm_kwargs):
            result: list[JsonObject] = await super(TaleAdapter, self.for_lm(lm)).acall(lm, lm_kwargs, *args, **kwargs)
        return result

    def _call_preprocess(
        self, lm: BaseLM, lm_kwargs: CallArguments, signature: type[Signature], inputs: CallArguments
    ) -> type[Signature]:
        """Plan native tools and thinking as DSPy does, but keep the phrase.

        The paper sends it to thinking models, too.
        """
        planned: type[Signature] = super()._call_preprocess(lm, lm_kwargs, signature, inputs)
        if REASONING in output_fields(signature) and REASONING not in output_fields(planned):
            field = output_fields(signature)[REASONING]
            planned = planned.prepend(REASONING, field, type_=field.annotation)
        return planned

    # ---- rendering

    def format(self, signature: type[Signature], demos: list[JsonObject], inputs: CallArguments) -> list[JsonObject]:
        """Render the messages of a call."""
        # ChatAdapter's own `format` is wrapped for callbacks as this one is: through it each would fire twice.
        messages: list[JsonObject] = Adapter.format(self, signature, demos, inputs)
        return messages

    def format_system_message(self, signature: type[Signature]) -> str:
        return SYSTEM

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: CallArguments,
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Render inputs as a user message.

        The main request also says all that the model must know about its reply.
        """
        if main_request:
            body = [own_instructions(signature), self._question_message(signature, inputs)]
        else:
            body = [input_rows(signature, inputs)]
        return "\n\n".join(p for p in (prefix, *body, suffix) if p)

    def _question_message(self, signature: type[Signature], inputs: CallArguments) -> str:
        """Render one question without the instructions."""
        shown = shown_inputs(signature, inputs)
        if is_estimator(signature):
            rows = "".join(f'{title(k)}: "{input_text(f, inputs[k])}"\n' for k, f in shown.items())
            return f"Below is the question:\n\n{rows}"
        budget = inputs.get(BUDGET) if BUDGET in input_fields(signature) else None
        if states_budget(signature):
            budget = STATED
        thinks = REASONING in output_fields(signature)
        options = {"thinks": thinks, "thought": was_thought(output_fields(signature))}
        task, alone = self._task_prompt(signature), list(shown) == ["question"] and self._is_published_form(signature)
        question = input_text(shown["question"], inputs["question"]) if alone else input_rows(signature, inputs)
        form = prompt_form(self.form or DEFAULT_FORM)
        if thinks and budget is not None and form.name != PAPER and task.wanted is not None:
            return form.render(
                question, task.wanted if alone else wanted_format(visible_outputs(signature)), budget=budget
            )
        if alone:
            return task.render(question, budget=budget, **options)
        return task.render_fields(question, wanted_format(visible_outputs(signature)), budget=budget, **options)

    def _task_prompt(self, signature: type[Signature]) -> TaskPrompt:
        return TASK_PROMPTS[self.task or ("choice" if is_choice(signature) else "answer")]

    def _is_published_form(self, signature: type[Signature]) -> bool:
        """Return whether a form as published loses nothing the user described."""
        outputs = visible_outputs(signature)
        names = [k for k in input_fields(signature) if k != BUDGET]
        if "question" not in names or not self._task_prompt(signature).fits(list(outputs)):
            return False
        ((name, field),) = outputs.items()
        if self.task:
            return is_short(field)
        description = described("question", input_fields(signature)["question"]) or described(name, field)
        return not description and (is_choice(signature) or field.annotation in (str, int, float))

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: JsonObject,
        missing_field_message: str | None = None,
    ) -> str:
        """Render a reply as the model should write it.

        The reasoning comes first, then each output in its place.
        """
        lines = [str(outputs[REASONING])] if outputs.get(REASONING) and REASONING in output_fields(signature) else []
        if states_budget(signature) and outputs.get(BUDGET):
            lines.insert(0, f"Budget: [[{outputs[BUDGET]}]]")
        answers = {
            k: f for k, f in visible_outputs(signature).items() if k in outputs and not demo_lacks(outputs, k, f)
        }
        for name in sorted(
            answers, key=lambda k: not is_short(answers[k])
        ):  # the short ones first, as they are asked for
            value = output_text(answers[name], outputs[name], choice=self._is_choice_prompt(signature))
            short = is_short(answers[name])
            lines.append(
                f"{self._field_label(signature, name)}: [[{value}]]" if short else f"[[ ## {name} ## ]]\n{value}"
            )
        return "\n".join(lines)

    def user_message_output_requirements(self, signature: type[Signature]) -> str:
        """Repeat how the outputs must look, for a chat turn after the request."""
        return (
            f"Please Give the response by strictly following this format: {wanted_format(visible_outputs(signature))}"
        )

    def _is_choice_prompt(self, signature: type[Signature]) -> bool:
        return is_choice(signature) or (self._task_prompt(signature).choice and self._is_published_form(signature))

    def _field_label(self, signature: type[Signature], name: str) -> str:
        if is_estimator(signature):
            return "Budget"
        return (self._is_published_form(signature) and self._task_prompt(signature).label) or title(name)

    def format_demos(self, signature: type[Signature], demos: list[JsonObject]) -> list[JsonObject]:
        """Render demos as pairs of messages.

        One that lacks an output of this predictor is left out of its prompt.
        """
        messages = []
        for demo in demos:
            outputs = {k: f for k, f in output_fields(signature).items() if k != REASONING}
            if any(demo_lacks(demo, k, f) for k, f in outputs.items()) or not shown_inputs(signature, demo):
                continue
            messages.append({"role": "user", "content": self._question_message(signature, demo)})
            reply = self.format_assistant_message_content(signature, demo)
            messages.append({"role": "assistant", "content": reply})
        return messages

    def format_conversation_history(
        self, signature: type[Signature], history_field_name: str, inputs: CallArguments
    ) -> list[JsonObject]:
        """Render a `dspy.History`.

        An estimator is shown the conversation, not estimates of it.
        """
        if not is_estimator(signature) or history_field_name not in inputs:
            turns: list[JsonObject] = super().format_conversation_history(signature, history_field_name, inputs)
            return turns
        messages = []
        for budget_request in inputs.pop(history_field_name).messages:
            lines = [f"{title(k)}: {v}" for k, v in budget_request.items() if k not in input_fields(signature)]
            pair = {"user": input_rows(signature, budget_request), "assistant": "\n".join(lines)}
            messages += [{"role": who, "content": text} for who, text in pair.items() if text]
        return messages

    # ---- reading

    def parse(self, signature: type[Signature], completion: str) -> JsonObject:
        """Read every output field out of a reply.

        A field that cannot be read has its default, else None.

        Args:
            signature: The output fields to look for.
            completion: The reply.

        Returns:
            One value for each output field, of the field's type or None.
        """
        if is_estimator(signature):
            contents = (b.content for b in reversed(brackets(split_thought(completion).visible, ())))
            return {BUDGET: next((c for c in contents if read_budget(c) is not None), completion.strip() or None)}
        thinks = REASONING in output_fields(signature)
        choice = self._is_choice_prompt(signature)
        stated, completion = split_stated(completion) if states_budget(signature) else (None, completion)
        values, before = read_fields(visible_outputs(signature), completion, choice=choice, thinks=thinks)
        if BUDGET in output_fields(signature):
            values[BUDGET] = stated
        if thinks:
            values[REASONING] = thought(before.strip().removeprefix(_HEADER), output_fields(signature)[REASONING])
        return {k: default(f) if values.get(k) is None else values[k] for k, f in output_fields(signature).items()}

    def _call_postprocess(
        self,
        processed_signature: type[Signature],
        original_signature: type[Signature],
        outputs: list[JsonObject | str],
        lm: BaseLM,
        lm_kwargs: CallArguments,
    ) -> list[JsonObject]:
        """Read each reply as DSPy does, but give None where DSPy raises.

        DSPy raises on an empty reply or broken tool calls.
        """
        return [self._parse_reply(processed_signature, original_signature, o, lm, lm_kwargs) for o in outputs]

    def _parse_reply(self, processed: Any, original: Any, output: Any, lm: Any, lm_kwargs: CallArguments) -> JsonObject:
        # A dict always: in a bare text DSPy takes the words "reasoning_content" for a key.
        row = {k: v for k, v in output.items() if v} if isinstance(output, dict) else {"text": output}
        value: JsonObject | None = None
        if row.get("tool_calls") and self._get_tool_call_output_field_name(original):
            try:
                value = super()._call_postprocess(processed, original, [row], lm, lm_kwargs)[0]
            except (ValidationError, TypeError, AttributeError):  # arguments that are no JSON object, or no call at all
                row.pop("tool_calls")
        if value is None and row.get("text"):
            value = super()._call_postprocess(processed, original, [row], lm, lm_kwargs)[0]
        if value is None:
            value = {k: default(f) for k, f in output_fields(original).items()}
        native = row.get("reasoning_content")
        if native and REASONING in output_fields(original) and not value.get(REASONING):
            value[REASONING] = thought(str(native), output_fields(original)[REASONING])
        return value


def _refuse_listeners() -> None:
    """Refuse listeners on fields of the predictor that is called.

    Listeners on other predictors are allowed.

    Raises:
        UsageError: If there is one.
    """
    caller = settings.caller_predict
    if any(listener.predict is None or listener.predict is caller for listener in settings.stream_listeners or ()):
        raise UsageError(
            "StreamListener needs the field markers of dspy.ChatAdapter: pass adapter=dspy.ChatAdapter() to the "
            "module, or call dspy.streamify without stream_listeners"
        )
