"""Callbacks for the LiteLLM proxy.

Any client, in any language, gets the budgets of a saved program.

`TokenBudget` adds the budget to requests, `EffortTier` chooses the model by it. Checked against LiteLLM 1.106.2; a
proxy older than 1.83.10 can be taken over (CVE-2026-42208, CVE-2026-42271) and is refused.

Example:
    A module beside the proxy's configuration, `tale_hook.py`, as `tale export best.json --to litellm` writes it:

    >>> tale = TokenBudget("best.json")  # doctest: +SKIP
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, Protocol, cast
from zlib import crc32

from litellm.integrations.custom_logger import CustomLogger

from tale_dspy.backends.budget_planner import Mode
from tale_dspy.backends.reasoning_params import check_mode
from tale_dspy.budget import BudgetValue
from tale_dspy.errors import UsageError
from tale_dspy.integrations.policy import BudgetPolicy, ModelEstimatePolicy, PolicyLike, PolicySource
from tale_dspy.integrations.proxy_control import control_settings, effort_sent
from tale_dspy.integrations.proxy_decision import (
    DECISION_KEY,
    add_sent,
    drop_decision,
    proxy_metadata,
    response_headers,
    store_decision,
    stored_budget,
    stored_decision,
)
from tale_dspy.integrations.proxy_metrics import ProxyMetrics
from tale_dspy.integrations.proxy_requests import (
    API_FORMATS,
    ApiFormat,
    JsonObject,
    SkippedRequest,
    UserQuestion,
    output_limit,
    read_question,
    requested_budget,
    with_phrase,
    without_requested_budget,
)

if TYPE_CHECKING:
    from litellm.types.router import RoutingContext
    from litellm.types.utils import ModelResponse

OLDEST_LITELLM = (1, 83, 10)


class TokenBudget(CustomLogger):
    """Give each question its budget.

    It goes into the prompt, and into the reasoning control of the model that answers.

    It handles chat completions, Anthropic Messages and OpenAI Responses, streamed or not. Which requests pass through
    unchanged is said in `proxy_requests.read_question`. The response has the header `x-tale-budget` (tokens) and
    `x-tale-effort` (a word), or `x-tale-skipped` with a reason. A caller may set `metadata.tale` to `off`, to a number
    of tokens or to an effort word. No fault of the policy, its file or this callback ever fails a request: it passes
    through, and the log says so once.

    Args:
        policy: File of a saved program (read again when it changes), a program, tokens, or an effort word.
        mode: How budgets are sent: `auto`, `prompt`, `native` or `cap` (`tale_dspy.BudgetedChainOfThought`).
        estimate: Of a program whose budgets the model estimates: `call` makes that extra request before each question,
            as the paper does; `never` lets such questions pass through.
        holdout: Share of the questions, from 0 to 1, that pass through, so that the metrics can show what the others
            saved. A hash of the question decides, so that the same text always passes through or never does.

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
            drop_decision(data)
            return data
        request = without_requested_budget(data)
        decision: BudgetValue | SkippedRequest = SkippedRequest("error")
        with self._source.log_faults("no budget, the request passes through"):
            budget = await self._budget_for(api, data)
            if isinstance(budget, BudgetValue) and budget.tokens is not None:
                request = with_phrase(api, request, budget.tokens)
            decision = budget
        store_decision(request, api, decision)
        return request

    async def async_pre_call_deployment_hook(self, kwargs: JsonObject, call_type: object) -> JsonObject | None:
        """Set the reasoning control, once the model that answers is known."""
        stored = stored_decision(kwargs)
        if stored is None or "skipped" in stored:
            return None
        changes: JsonObject = {}
        with self._source.log_faults(f"{kwargs.get('model')}: no reasoning control was set"):
            budget = stored_budget(stored)
            if budget is not None:
                api = cast("ApiFormat", stored["api"])
                changes = control_settings(api, str(kwargs["model"]), budget, self.mode, kwargs)
        add_sent(stored, changes, effort_sent(changes))
        if not changes:
            return None
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
        """Return the headers that tell the caller what was decided."""
        stored = stored_decision(data)
        return None if stored is None else response_headers(stored)

    async def async_log_success_event(
        self, kwargs: JsonObject, response_obj: object, start_time: object, end_time: object
    ) -> None:
        """Count what an answered request spent."""
        params = kwargs.get("litellm_params")
        stored = stored_decision(params) if isinstance(params, Mapping) else None
        logged = kwargs.get("standard_logging_object")
        if stored is None or not isinstance(logged, Mapping):
            return
        self._metrics.count(str(logged.get("model_group") or kwargs.get("model")), stored, logged)

    async def _budget_for(self, api: ApiFormat, data: JsonObject) -> BudgetValue | SkippedRequest:
        """Return the budget of a request, or why it has none."""
        requested = requested_budget(data)
        if isinstance(requested, SkippedRequest):
            return requested
        question = read_question(api, data)
        if isinstance(question, SkippedRequest):
            return question
        budget = requested or await self._policy_budget(question, data)
        limit = output_limit(api, data)
        if isinstance(budget, SkippedRequest) or budget.tokens is None or limit is None:
            return budget
        return replace(budget, tokens=min(budget.tokens, limit))

    async def _policy_budget(self, question: UserQuestion, data: JsonObject) -> BudgetValue | SkippedRequest:
        """Return the budget that the policy gives a question, or why there is none."""
        if crc32(question.text.encode("utf-8", "replace")) < self.holdout * 2**32:
            return SkippedRequest("holdout")
        policy = self._source.current()
        if policy is None:
            return SkippedRequest("no-policy")
        budget = policy.budget_for(question.text) or await self._ask_estimate(policy, question.text, data)
        if isinstance(budget, BudgetValue) and question.has_other_parts and budget.tokens is not None:
            return replace(budget, tokens=max(budget.tokens, policy.default_tokens))
        return budget

    async def _ask_estimate(self, policy: BudgetPolicy, text: str, data: JsonObject) -> BudgetValue | SkippedRequest:
        """Let the model estimate the budget of a question, by the proxy's own router."""
        if self.estimate == "never" or not isinstance(policy, ModelEstimatePolicy):
            return SkippedRequest("needs-estimate")
        router = _running_router()
        if router is None:
            return SkippedRequest("needs-estimate")
        metadata = {**proxy_metadata(data), DECISION_KEY: {}}
        reply = await router.acompletion(model=str(data["model"]), messages=policy.messages(text), metadata=metadata)
        return policy.read(reply.choices[0].message.content)


class EffortTier:
    """Choose a tier of LiteLLM's complexity router by a question's budget.

    It is for `classifier_type: custom` of an `auto_router/complexity_router` model.

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
        # A `TokenBudget` has been at the request before the router: its phrase stands in the prompt already.
        stored = stored_decision({"metadata": context.metadata})
        budget = None if stored is None else stored_budget(stored)
        if budget is not None:
            return self._budget_tier(budget)
        with self._source.log_faults("no tier was chosen"):
            question = read_question("chat", {"messages": context.structured_messages})
            policy = self._source.current()
            if isinstance(question, UserQuestion) and policy is not None:
                budget = policy.budget_for(question.text)
        return None if budget is None else self._budget_tier(budget)

    def _budget_tier(self, budget: BudgetValue) -> str | None:
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


class _ProxyRouter(Protocol):
    """What is needed of LiteLLM's router."""

    async def acompletion(self, *, model: str, messages: list[dict[str, str]], metadata: JsonObject) -> "ModelResponse":
        """Answer by any deployment of a model group."""
        ...


def _running_router() -> _ProxyRouter | None:
    """Return the router of the proxy that runs in this process."""
    from litellm.proxy.proxy_server import llm_router

    return cast("_ProxyRouter | None", llm_router)
