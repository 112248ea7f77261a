"""What a reply states as its answer, and how it takes a marked one back."""

import pytest

from tale_dspy.answers import find_answer

NUMBERS = [
    ("The answer is 18. I used 2 steps.", "18"),
    ("[[18]] ... Correction: the answer is 26.", "26"),
    ("[[18]]. Wait, it should be 26.", "26"),
    ("[[18]]. Sorry, I meant 26.", "26"),
    ("[[18]]. The answer is correct.", "18"),
    ("[[18]]. Note that if he had 3 more, the answer is 20.", "18"),
    ("If she sells all of them, the answer is 18. It took 2 steps.", "18"),
    ("I don't think the answer is 18. It is 20", "20"),
    ("The answer is 9 x 2 = 18, with 7 eggs less.", "18"),
    (r"The answer is $x = 18$ because 18 > 2.", "18"),
    ("The answer is 10/3 ≈ 3.33", "3.33"),
    ("The answer is 2 times 9, which gives 18", "18"),
    ("The answer is the number of eggs times 2.\n9*2=18", "18"),
    ("**Answer:** 18 dollars per day for 7 days", "18"),
    ("**Final Answer**\n\n$18$\n\n(2 steps)", "18"),
    ("2 steps:\n### Final answer\n18\n(2 steps)", "18"),
    ("Answer:\n\\[\n\\frac{3}{4}\n\\]\nin 2 steps", "3/4"),
    ("Answer:\n$$\n18\n$$\nin 2 steps", "18"),
    ("The answer to question 2 is 18.", "18"),
    ('{"answer": "18", "steps": 2}', "18"),
    ("<answer>18</answer> after 2 steps", "18"),
    ("答案是 １８。一共用了 2 步", "18"),
    ("答：18元，共 2 步", "18"),
    ("The answer is 18 or 20.", "18 or 20"),
    ("The answer is 18 eggs, or maybe 20, I think.", "18 eggs, or maybe 20, I think"),
    ("The answer is 18 to 20 eggs.", "18 to 20 eggs"),
    ("The answer is 3, 4 and 5.", "3, 4 and 5"),
    ("The answer is 2x", "2x"),
    (r"The answer is \sqrt{2}", r"\sqrt{2}"),
    ("The answer is 9*2", "9*2"),
]


@pytest.mark.parametrize(("reply", "answer"), NUMBERS)
def test_a_statement_gives_the_number_it_begins_with(reply: str, answer: str) -> None:
    assert find_answer(reply, "number") == answer


CUES = """the answer is|answers are|the answer was|ans =|the answer equals|the answer should be|the answer must be
the answer comes to|the answer to question 2 is|the answer will be|答案应为|答案 =|the answer comes out to
the answer for her is:|the answer of it all is|<final_answer>|答案：|答案应该是|答案就是|答案为"""


@pytest.mark.parametrize("cue", CUES.replace("\n", "|").split("|"))
def test_what_follows_a_statement_is_explanation(cue: str) -> None:
    assert find_answer(f"{cue} 18. That took 2 steps", "number") == "18"


LEADS = """about|approximately|around|roughly|simply|just|only|exactly|therefore|thus|then|now|indeed|equal to|of
a total of|simply equal to|x =|≈|=|约|大约|共"""


@pytest.mark.parametrize("lead", LEADS.replace("\n", "|").split("|"))
def test_words_that_lead_to_a_number_are_passed_over(lead: str) -> None:
    assert find_answer(f"The answer is {lead} 18. That took 2 steps", "number") == "18"


ENDS = [". Then", "! Then", "? Then", "; then", '." Then', "。", "</answer>", " ("]
ENDS += [" because", " since", ", since", " which", ", which", " as", ", so", ", where", ", but", ", for"]


@pytest.mark.parametrize("end", ENDS)
def test_an_equation_in_the_explanation_is_not_the_answer(end: str) -> None:
    assert find_answer(f"The answer is 9*2 = 18{end} 3 = 1 + 2", "number") == "18"


CORRECTIONS = """Correction: it is|Corrected, the total is|Actually, that should be|Wait, the result must be
Oops, this was|Sorry, we meant|My mistake. The value equals|That is wrong; it would be|Incorrect! The amount's
Revised: the number is|Wait, it is actually|Sorry, it's rather|等等，应该是|更正为|不对，应该是|错了，应为
纠正：应该是|Correction:|Wait, it has to be|Sorry, it is really|Wait, it's instead|Wait, it was actually"""


@pytest.mark.parametrize("words", CORRECTIONS.replace("\n", "|").split("|"))
def test_a_correction_takes_back_the_mark(words: str) -> None:
    assert find_answer(f"[[18]]. {words} 26.", "number") == "26"


DOUBTS = """If he buys 3,|Suppose|Assuming 3 more,|Unless he buys 3,|It is not so that|如果多买 3 个，|假设
若多买 3 个，|不能说|Check whether|Supposing|Assume"""


@pytest.mark.parametrize("doubt", DOUBTS.replace("\n", "|").split("|"))
def test_a_supposition_leaves_the_mark_alone(doubt: str) -> None:
    assert find_answer(f"[[18]]. {doubt} the answer is 20.", "number") == "18"


@pytest.mark.parametrize(
    "words", ["plus 9", "minus 9", "divided by 2", "multiplied by 2", "fewer than 9", "more than 9"]
)
def test_a_sum_in_words_states_nothing(words: str) -> None:
    assert find_answer(f"The answer is 9 {words}. So [[18]]\nThe answer is 2 {words}.", "number") == "18"


OPTIONS = [
    ("[[A]] Wait, B is correct.", "B"),
    ("[[A]]\nOption A is correct and B is not.", "A"),
    ("The answer is B.\nOption A would be too big. A is wrong.", "B"),
    ("The answer is B or C.", "B or C"),
    ('{"answer": "B", "steps": 2}', "B"),
    ("B. Paris\nC. London\nI choose B.\nIt is the largest.", "B"),
    ("We'll go with (B), since A is smaller.\nC and D are too.", "B"),
    ("The best choice is B.\nC is too small.", "B"),
    ("The right option: B\nC is too small.", "B"),
    ("I'd select B.\nC is too small.", "B"),
    ("I will pick B.\nC is too small.", "B"),
    ("B is the answer.\nC is too small.", "B"),
    ("B is best.\nC is too small.", "B"),
    ("(C) must be the right one.\nThat is all.", "C"),
    ("I choose B because A is wrong.", "B"),
    ("We would pick (D).", "D"),
    ("So the correct option is (D).", "D"),
    ("Therefore, option (C) is correct.", "C"),
    ("答案是 B", "B"),
    ("答案：选项B。", "B"),
    ("选 C", "C"),
    ("应该选择 C。\nA 和 B 都太小", "C"),
    ("所以答案为选项D", "D"),
    ("选项A不对，所以选B", "B"),
    ("B是正确的。\nC 太小", "B"),
]


@pytest.mark.parametrize(("reply", "letter"), OPTIONS)
def test_a_statement_gives_the_option_it_names(reply: str, letter: str) -> None:
    assert find_answer(reply, "choice") == letter


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("[[Paris]]. The answer is correct.", "Paris"),
        ("[[Paris]]. Wait, the answer is London.", "London"),
        ("The answer is Paris, France. It is big.", "Paris, France"),
        ("The answer is **Paris**, the capital.", "Paris"),
        ("Answer: $x^2 + 1$, by expanding.", "x^2 + 1"),
        (r"Answer: \(x^2 + 1\), by expanding.", "x^2 + 1"),
        ('{"answer": "Paris"}', "Paris"),
        ('He said: "The answer is Paris." Then he left.', "Paris"),
        ("<answer>Paris</answer>", "Paris"),
        ("答案是北京。它很大", "北京"),
        ("answer:", "answer:"),
    ],
)
def test_a_statement_gives_the_text_up_to_its_end(reply: str, text: str) -> None:
    assert find_answer(reply, "text") == text
