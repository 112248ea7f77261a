"""How large the page of a report becomes, how long it takes to make, and how soon a reader can use it.

    python benchmarks/report_page.py [--questions 10000] [--out FILE]

Two runs with replies of about the length of GSM8K's, each word drawn at random, which compresses worse than language
does. "Usable" is measured in Debian's chromium, headless: from the call that opens the file until every table is there.
On a busy machine only the CPU seconds say something.
"""

import argparse
import random
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tale_dspy.reports import ReportSources, report_page
from tale_dspy.reports.page import write_page
from tale_dspy.runs.records import Record, Run

REPLY_WORDS = {"cot": 110, "tale-ep": 35}
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


def made_run(name: str, questions: int) -> Run:
    """A run of so many questions with replies of random words."""
    rng = random.Random(name)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(4000)]
    chance = random.Random("questions")
    records = []
    for i in range(questions):
        tokens = max(5, round(REPLY_WORDS[name] * rng.lognormvariate(0, 0.4)))
        budget = None if name == "cot" else tokens + rng.randint(-10, 30)
        records.append(
            Record(
                id=f"{i:016x}",
                question=" ".join(chance.choices(words, k=45)),
                gold=str(i),
                reply=" ".join(rng.choices(words, k=tokens)) + f" [[{i}]]",
                answer=str(i),
                outcome="correct" if rng.random() < 0.9 else "wrong",
                output_tokens=tokens,
                token_budget=budget,
                prompt_tokens=90,
                cost_usd=tokens * 6e-7,
                calls=1,
                paid_calls=1,
                usage_source="provider",
            )
        )
    config = {"model": "none", "data": {"name": "random words"}}
    return Run(info={"program": {"name": name}, "provenance": "simulated", "config": config}, records=records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "report_page.html")
    options = parser.parse_args()
    runs = [made_run(name, options.questions) for name in REPLY_WORDS]
    start, cpu_start = time.perf_counter(), time.process_time()
    page = report_page(ReportSources(runs))
    write_page(replace(page, title=f"{page.title}, {options.questions:,} questions"), options.out)
    size = options.out.stat().st_size / 1e6
    texts = sum(len(r.reply or "") + len(r.question or "") for run in runs for r in run.records) / 1e6
    print(f"{options.questions:,} questions: {size:.2f} MB ({texts:.1f} MB of texts)")
    print(f"made in {time.perf_counter() - start:.1f} s, {time.process_time() - cpu_start:.1f} s of them CPU")
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium: not opened")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        view = browser.new_page()
        metrics = view.context.new_cdp_session(view)
        metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
        start = time.perf_counter()
        view.goto(options.out.resolve().as_uri())
        view.wait_for_selector("html[data-ready]")
        wall = time.perf_counter() - start
        cpu = {m["name"]: m["value"] for m in metrics.send("Performance.getMetrics")["metrics"]}
        print(f"usable after {wall:.2f} s, {cpu['ProcessTime']:.2f} s of them CPU of the page's process")
        steps = {
            "search": lambda: view.get_by_role("searchbox").last.fill("[[77"),
            "clear": lambda: view.get_by_role("searchbox").last.fill(""),
            "sort": lambda: view.get_by_role("button", name="cot: tokens").last.press("Enter"),
            "open": lambda: view.locator("tr.row button").last.press("Enter"),
        }
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            view.locator(".explorer").last.get_by_role("status").inner_text()
            print(f"{name}: {time.perf_counter() - start:.2f} s")
        browser.close()


if __name__ == "__main__":
    main()
