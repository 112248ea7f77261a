"""Our sampler: it learns, it forgets nothing when saved, and it beats the paper's search where both can be judged."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from family import Made, history_after, search

from tale_dspy.errors import UsageError
from tale_dspy.optimizers.samplers import ElasticSampler, HalvingSampler, Observation, QuestionHistory
from tale_dspy.optimizers.samplers.elastic import Lesson, LessonExchange
from tale_dspy.testing.samplers import BudgetSamplerSuite


class TestElasticSampler(BudgetSamplerSuite):
    def sampler(self) -> ElasticSampler:
        return ElasticSampler()


def figures(histories: list[QuestionHistory], questions: list[Made]) -> tuple[float, float]:
    """Tokens of the best found over the least there are, and calls a question; both on the mean."""
    excess = [h.best_tokens / q.least for h, q in zip(histories, questions, strict=True)]
    return sum(excess) / len(excess), sum(len(h.trials) for h in histories) / len(histories)


def test_it_finds_what_halving_does_not_and_learns_to_find_it_in_fewer_calls() -> None:
    questions = [Made(seed) for seed in range(120)]
    sampler = ElasticSampler()
    histories = [search(sampler, q) for q in questions]
    early, late = figures(histories[:20], questions[:20]), figures(histories[-60:], questions[-60:])
    halved, _ = figures([search(HalvingSampler(), q) for q in questions], questions)
    assert late[0] < 1.05
    assert late[1] < early[1]
    assert late[1] < 3
    assert halved > 1.2


def test_it_learns_where_to_begin_with_long_answers_and_where_with_short_ones() -> None:
    sampler = ElasticSampler()
    for i in range(40):
        vanilla, changepoint = (80 + i, 40) if i % 2 else (400 + i, 44)
        trials = (Observation(changepoint, changepoint, True), Observation(changepoint - 8, changepoint + 40, False))
        sampler.finish_question(QuestionHistory(vanilla, trials))
    assert 30 < sampler.propose(QuestionHistory(90)) < 60
    assert 30 < sampler.propose(QuestionHistory(410)) < 70


def side_by_side(sampler: ElasticSampler, questions: list[Made], *, watching: bool) -> list[QuestionHistory]:
    """Search all questions at once: each is asked one budget, then each the next."""
    histories = [QuestionHistory(q.vanilla) for q in questions]
    open_ = list(range(len(questions)))
    while open_:
        for i in open_:
            budgets = [o.budget for o in histories[i].trials]
            histories[i] = history_after(questions[i], questions[i].vanilla, *budgets, sampler.propose(histories[i]))
            if watching:
                sampler.observe(histories[i])
        open_ = [i for i in open_ if not sampler.should_stop(histories[i])]
    return histories


def test_questions_that_are_searched_at_once_teach_each_other() -> None:
    questions = [Made(seed) for seed in range(40)]
    alone = figures(side_by_side(ElasticSampler(), questions, watching=False), questions)
    together = figures(side_by_side(ElasticSampler(), questions, watching=True), questions)
    assert together[1] < 0.7 * alone[1]
    assert together[0] < 1.05


def test_what_was_watched_is_not_learned_twice() -> None:
    watching, learning = ElasticSampler(), ElasticSampler()
    for reasoner in map(Made, range(30)):
        history = history_after(reasoner, reasoner.vanilla, reasoner.changepoint, reasoner.changepoint // 2)
        watching.observe(history)
        for sampler in (watching, learning):
            sampler.finish_question(history)
    for vanilla in (80, 200, 400):
        assert watching.propose(QuestionHistory(vanilla)) == learning.propose(QuestionHistory(vanilla))


def test_a_higher_price_means_fewer_calls() -> None:
    questions = [Made(seed) for seed in range(30)]
    calls = []
    for price in (0.01, 0.2):
        sampler = ElasticSampler(price=price)
        calls.append(sum(len(search(sampler, q).trials) for q in questions))
    assert calls[1] < calls[0]


def test_no_question_is_asked_more_often_than_allowed() -> None:
    sampler = ElasticSampler(price=0.0001, max_calls=3)
    assert max(len(search(sampler, Made(seed)).trials) for seed in range(20)) == 3


def test_a_saved_sampler_goes_on_as_if_it_had_never_been_away(tmp_path: Path) -> None:
    sampler = ElasticSampler(price=0.05, max_calls=7)
    for seed in range(25):
        search(sampler, Made(seed))
    sampler.finish_question(QuestionHistory(50, (Observation(9, float("inf"), False),)))
    sampler.save(tmp_path / "learned.json")
    loaded = ElasticSampler.load(tmp_path / "learned.json")
    assert (loaded.price, loaded.max_calls) == (0.05, 7)
    for seed in range(25, 60):
        assert search(loaded, Made(seed)) == search(sampler, Made(seed))


def test_the_same_trials_in_the_same_order_lead_to_the_same_budgets() -> None:
    first, again = ElasticSampler(), ElasticSampler()
    histories = [search(first, Made(seed)) for seed in range(40)]
    for history in histories:
        again.finish_question(history)
    assert again.propose(QuestionHistory(300)) == first.propose(QuestionHistory(300))


def test_a_question_without_trials_teaches_nothing(tmp_path: Path) -> None:
    sampler = ElasticSampler()
    sampler.finish_question(QuestionHistory(100))
    sampler.save(tmp_path / "learned.json")
    assert json.loads((tmp_path / "learned.json").read_text())["questions"] == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 99}', '{"format": 1, "price": 0.1, "max_calls": 9, "questions": [{"trials": [1]}]}'],
)
def test_a_file_that_holds_no_sampler_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "learned.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"learned\.json"):
        ElasticSampler.load(path)
    with pytest.raises(UsageError, match=r"missing\.json"):
        ElasticSampler.load(tmp_path / "missing.json")


@pytest.mark.parametrize("given", [{"price": 0}, {"price": 1}, {"price": float("nan")}, {"max_calls": 0}])
def test_settings_that_make_no_sense_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"must be"):
        ElasticSampler(**given)  # type: ignore[arg-type]


def test_samplers_that_share_their_lessons_learn_the_same_questions() -> None:
    box: list[tuple[int, Lesson]] = []
    read = [0, 0]

    def exchange_of(number: int) -> LessonExchange:
        def exchange(lessons: Sequence[Lesson]) -> list[Lesson]:
            box.extend((number, lesson) for lesson in lessons)
            new = [lesson for other, lesson in box[read[number] :] if other != number]
            read[number] = len(box)
            return new

        return exchange

    samplers = [ElasticSampler(), ElasticSampler()]
    for number, sampler in enumerate(samplers):
        sampler.join(exchange_of(number))
    histories = [
        QuestionHistory(200 + n, (Observation(40 + n, 38.0, True), Observation(25, 70.0, False))) for n in range(16)
    ]
    for n, history in enumerate(histories):
        samplers[n % 2].finish_question(history)
    first, second = ({*sampler._learned} for sampler in samplers)
    assert len(first | second) == 16 and len(first) >= 15 and len(second) == 16
    assert all(len(sampler._learned) == len({*sampler._learned}) for sampler in samplers), "none is learned twice"


def test_one_that_joins_late_has_learned_what_the_first_has() -> None:
    """The model is fitted in a few steps at a time, so that one fit to all lessons at once would lag behind."""
    lessons: list[Lesson] = []
    first, late = ElasticSampler(), ElasticSampler()

    def keep(new: Sequence[Lesson]) -> list[Lesson]:
        lessons.extend(new)
        return []

    first.join(keep)
    for seed in range(30):
        first.finish_question(search(ElasticSampler(), Made(seed)))
    late.join(lambda new: lessons)
    for tokens in (80, 160, 320):
        assert late.propose(QuestionHistory(tokens)) == first.propose(QuestionHistory(tokens))
