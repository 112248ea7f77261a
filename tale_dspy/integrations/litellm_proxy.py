"""Callbacks for the LiteLLM proxy: any client, in any language, gets the budgets of a saved program.

`TokenBudget` adds the budget to requests, `EffortTier` chooses the model by it. Checked against LiteLLM 1.106.2; a
proxy older than 1.83.10 can be taken over (CVE-2026-42208, CVE-2026-42271) and is refused.

Example:
    A module beside the proxy's configuration, `tale_hook.py`, as `tale export best.json --to litellm` writes it:

    >>> tale = TokenBudget("best.json")  # doctest: +SKIP
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, Protocol, cast
from zlib import crc32

from litellm.integrations.custom_logger import CustomLogger

from tale_dspy.backends.reasoning_params import Mode, check_mode
from tale_dspy.budget import BudgetValue
from tale_dspy.errors import TaleError, UsageError
from tale_dspy.integrations.policy import AskingPolicy, BudgetPolicy, PolicyLike, PolicySource
from tale_dspy.integrations.proxy_control import control_settings, effort_sent
from tale_dspy.integrations.proxy_metrics import ProxyMetrics
from tale_dspy.integrations.proxy_requests import (
    API_FORMATS,
    ApiFormat,
    JsonObject,
    SkippedRequest,
    output_limit,
    read_question,
    requested_budget,
    with_phrase,
    without_opt_out,
)

if TYPE_CHECKING:
    from litellm.types.router import RoutingContext
    from litellm.types.utils import ModelResponse

OLDEST_LITELLM = (1, 83, 10)
STATE = "tale_dspy"
"""Key under which the proxy's own metadata of a request holds what was decided of it."""


class TokenBudget(CustomLogger):
    """Give each question its budget: in its prompt, and by the reasoning control of the model that answers.

    Chat completions, Anthropic Messages and OpenAI Responses, streamed or not. Which requests pass through unchanged is
    said in `proxy_requests.read_question`. The response has the header `x-tale-budget` (tokens) and `x-tale-effort` (a
    word), or `x-tale-skipped` with a reason. A caller may set `metadata.tale` to `off`, to a number of tokens or to an
    effort word. No fault of the policy, its file or this callback ever fails a request: it passes through, and the log
    says so once.

    Args:
        policy: File of a saved program (read again when it changes), a program, tokens, or an effort word.
        mode: How budgets are sent: `auto`, `prompt`, `native` or `cap` (`tale_dspy.BudgetedChainOfThought`).
        estimate: `call` lets a program that asks the model for its budgets do so, by a request of its own before each
            question, as the paper does; `never` lets such questions pass through.
        holdout: Share of the questions, from 0 to 1, that pass through as they are, so that the metrics can tell what
            the others saved; the same text always does or never.

    Raises:
        UsageError: If an argument is none of these, or LiteLLM is too old.
    """

    def __init__(
        self,
        policy: PolicyLike,
        mode: Mode = "auto",
        estimate: Literal["never", "call"] = "never",
        *,
        holdout: float = 0.0,
    ) -> None:
        super().__init__()
        check_litellm_version()
        if estimate not in ("never", "call"):
            raise UsageError(f"estimate must be never or call, got {estimate!r}")
        if not 0 <= holdout <= 1:
            raise UsageError(f"holdout must be a share from 0 to 1, got {holdout!r}")
        self.mode: Mode = check_mode(mode)
        self.estimate, self.holdout = estimate, holdout
        self._source = PolicySource(policy)
        self._metrics = ProxyMetrics()

    async def async_pre_call_hook(
        self, user_api_key_dict: object, cache: object, data: JsonObject, call_type: str
    ) -> JsonObject:
        """Add the budget to the prompt, before the proxy chooses a deployment."""
        api = API_FORMATS.get(call_type)
        if api is None:
            return data
        try:
            request, decision = await self._decided(api, data)
        except Exception as error:  # the boundary: whatever goes wrong here, the user's request goes on
            self._source.warn_once(f"no budget, the request passes through: {type(error).__name__}: {error}")
            request, decision = dict(data), SkippedRequest("error")
        if isinstance(decision, SkippedRequest):
            _proxy_metadata(request)[STATE] = {"skipped": decision.reason}
        else:
            _proxy_metadata(request)[STATE] = {"tokens": decision.tokens, "effort": decision.effort, "api": api}
        return request

    async def async_pre_call_deployment_hook(self, kwargs: JsonObject, call_type: object) -> JsonObject | None:
        """Set the reasoning control, once the model that answers is known."""
        state = _state(kwargs)
        model = kwargs.get("model")
        if state is None or "skipped" in state or not isinstance(model, str):
            return None
        budget = BudgetValue(cast("int | None", state["tokens"]), cast("str | None", state["effort"]))
        try:
            changes = control_settings(cast("ApiFormat", state["api"]), model, budget, self.mode, kwargs)
        except TaleError as error:
            self._source.warn_once(f"{model}: the budget is in the prompt alone: {error}")
            return None
        state["sent_effort"] = effort_sent(changes)
        changed = {**kwargs, **changes}
        return {name: value for name, value in changed.items() if value is not None or name not in changes}

    async def async_post_call_response_headers_hook(
        self,
        data: JsonObject,
        user_api_key_dict: object,
        response: object,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, object] | None = None,
    ) -> dict[str, str] | None:
        """Tell the caller what was decided."""
        state = _state(data)
        if state is None:
            return None
        if "skipped" in state:
            return {"x-tale-skipped": str(state["skipped"])}
        effort = state.get("sent_effort") or state.get("effort")
        headers = {"x-tale-budget": state.get("tokens"), "x-tale-effort": effort}
        return {name: str(value) for name, value in headers.items() if value is not None}

    async def async_log_success_event(
        self, kwargs: JsonObject, response_obj: object, start_time: object, end_time: object
    ) -> None:
        """Book what an answered request spent."""
        params = kwargs.get("litellm_params")
        state = _state(params) if isinstance(params, Mapping) else None
        logged = kwargs.get("standard_logging_object")
        if state is None or not isinstance(logged, Mapping):
            return
        self._metrics.book(str(logged.get("model_group") or kwargs.get("model")), state, logged)

    async def _decided(self, api: ApiFormat, data: JsonObject) -> tuple[JsonObject, BudgetValue | SkippedRequest]:
        """Return the request as it goes on, and the budget in it or why there is none."""
        request = without_opt_out(data)
        requested = requested_budget(data)
        if isinstance(requested, SkippedRequest):
            return request, requested
        question = read_question(api, data)
        if isinstance(question, SkippedRequest):
            return request, question
        budget: BudgetValue | SkippedRequest | None = requested
        if budget is None:
            if crc32(question.text.encode("utf-8", "replace")) < self.holdout * 2**32:
                return request, SkippedRequest("holdout")
            policy = self._source.current()
            if policy is None:
                return request, SkippedRequest("no-policy")
            budget = policy.budget_for(question.text) or await self._asked(policy, question.text, data)
            if isinstance(budget, BudgetValue) and question.has_other_parts and budget.tokens is not None:
                budget = replace(budget, tokens=max(budget.tokens, policy.default_tokens))
        if isinstance(budget, SkippedRequest):
            return request, budget
        limit = output_limit(api, data)
        if budget.tokens is not None and limit is not None and limit < budget.tokens:
            budget = replace(budget, tokens=limit)
        return (request if budget.tokens is None else with_phrase(api, request, budget.tokens)), budget

    async def _asked(self, policy: BudgetPolicy, text: str, data: JsonObject) -> BudgetValue | SkippedRequest:
        """Ask the model for the budget of a question, by the proxy's own router."""
        if self.estimate == "never" or not isinstance(policy, AskingPolicy):
            return SkippedRequest("needs-estimate")
        router = _router()
        if router is None:
            return SkippedRequest("needs-estimate")
        reply = await router.acompletion(
            model=str(data["model"]), messages=policy.messages(text), metadata={**_proxy_metadata(data), STATE: {}}
        )
        return policy.read(reply.choices[0].message.content)


class EffortTier:
    """Choose a tier of LiteLLM's complexity router by a question's budget.

    For `classifier_type: custom` of an `auto_router/complexity_router` model.

    Args:
        policy: As of `TokenBudget`; one that would ask the model chooses no tier.
        tiers: The router's tier for each budget: by effort word, or by the most tokens that belong to it. A budget
            beyond the last belongs to the last.

    Raises:
        UsageError: If `tiers` is empty, or mixes words and numbers.

    Example:
        >>> tier = EffortTier("best.json", tiers={100: "SIMPLE", 1000: "COMPLEX"})  # doctest: +SKIP
    """

    def __init__(self, policy: PolicyLike, tiers: Mapping[str | int, str]) -> None:
        kinds = {type(bound) for bound in tiers}
        if kinds not in ({str}, {int}):
            raise UsageError(f"tiers must map effort words or numbers of tokens to names of tiers, got {dict(tiers)!r}")
        self.tiers: dict[str | int, str] = {**tiers}
        self._source = PolicySource(policy)

    async def classify(self, context: "RoutingContext") -> str | None:
        """Return the tier of a request; None leaves it to the router's own rule."""
        state = context.metadata.get(STATE)
        if isinstance(state, dict) and ("tokens" in state or "effort" in state):
            # A `TokenBudget` has been at the request before the router: its phrase stands in the prompt already.
            return self._tier(BudgetValue(state.get("tokens"), state.get("effort")))
        question = read_question("chat", {"messages": context.structured_messages})
        policy = self._source.current()
        if isinstance(question, SkippedRequest) or policy is None:
            return None
        try:
            budget = policy.budget_for(question.text)
        except Exception as error:  # the boundary: whatever goes wrong here, the user's request goes on
            self._source.warn_once(f"no tier was chosen: {type(error).__name__}: {error}")
            return None
        return None if budget is None else self._tier(budget)

    def _tier(self, budget: BudgetValue) -> str | None:
        if budget.effort is not None:
            return self.tiers.get(budget.effort)
        bounds = sorted(bound for bound in self.tiers if isinstance(bound, int))
        if budget.tokens is None or not bounds:
            return None
        return self.tiers[next((bound for bound in bounds if budget.tokens <= bound), bounds[-1])]


def check_litellm_version() -> None:
    """Refuse a LiteLLM whose proxy can be taken over.

    Raises:
        UsageError: If it is older than 1.83.10.
    """
    installed = version("litellm")
    numbers = tuple(int(part) if part.isdigit() else 0 for part in installed.split(".")[:3])
    if numbers < OLDEST_LITELLM:
        wanted = ".".join(map(str, OLDEST_LITELLM))
        raise UsageError(f"litellm {installed} is open to CVE-2026-42208 and CVE-2026-42271: install {wanted} or newer")


class _Router(Protocol):
    """What is needed of LiteLLM's router."""

    async def acompletion(self, *, model: str, messages: list[dict[str, str]], metadata: JsonObject) -> "ModelResponse":
        """Answer by any deployment of a model group."""
        ...


def _router() -> _Router | None:
    """Return the router of the proxy that runs in this process."""
    from litellm.proxy.proxy_server import llm_router

    return cast("_Router | None", llm_router)


def _proxy_metadata(request: MutableMapping[str, object]) -> JsonObject:
    """Return the proxy's own metadata of a request; on some routes `metadata` is the provider's."""
    name = "litellm_metadata" if isinstance(request.get("litellm_metadata"), dict) else "metadata"
    metadata = request.get(name)
    if not isinstance(metadata, dict):
        metadata = request[name] = {}
    return cast("JsonObject", metadata)


def _state(request: Mapping[str, object]) -> JsonObject | None:
    """Return what was decided of a request."""
    for name in ("litellm_metadata", "metadata"):
        metadata = request.get(name)
        state = metadata.get(STATE) if isinstance(metadata, Mapping) else None
        if isinstance(state, dict) and state:
            return cast("JsonObject", state)
    return None
