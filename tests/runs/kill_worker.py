"""A process that forks a run at each line on stdin, so that the test can kill it without paying for imports again."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import dspy

import tale_dspy
import tale_dspy.runs.engine
from tale_dspy.testing.problems import word_problems


def run(url: str, out: str, count: int) -> None:
    """Run TALE-EP over the problems."""
    rows = word_problems(count)
    examples = [dspy.Example(question=r["question"], answer=r["answer"]).with_inputs("question") for r in rows]
    lm = tale_dspy.LM("openai/scripted", api_base=url, api_key="none", engine="auto", cache=False)
    tale_dspy.evaluate(tale_dspy.TaleEP("question -> answer"), examples, lm=lm, out=out)


def main() -> None:
    url, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(url, out, count)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
