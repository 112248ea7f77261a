"""Caps that several processes share: never passed in total, nothing left idle, nothing believed of a lost process."""

import threading

import dspy
import pytest

from tale_dspy.accounting.calls import Call
from tale_dspy.accounting.cap_leases import NOTHING, LeaseAnswer, LeaseBook, LeasedLedger, Room
from tale_dspy.backends.prices import Price
from tale_dspy.errors import SpendCapReached

PRICE = Price(input=0.0, output=0.01)
ONE = Room(0.1, 10)


def ask(book: LeaseBook, holder: int, attempt: int, used: Room = NOTHING, held: Room = NOTHING) -> LeaseAnswer:
    return book.lease(holder, attempt, used=used, held=held, need=ONE, block=ONE.times(4))


class Holder:
    """Reaches a book of the same process."""

    def __init__(self, book: LeaseBook, number: int) -> None:
        self.book, self.number, self.attempt = book, number, book.open(number)
        self.lock = threading.Lock()

    def lease(self, used: Room, held: Room, need: Room, block: Room) -> LeaseAnswer:
        with self.lock:
            return self.book.lease(self.number, self.attempt, used=used, held=held, need=need, block=block)


def test_leases_never_add_up_to_more_than_the_cap() -> None:
    book = LeaseBook(max_usd=1.0)
    attempts = {number: book.open(number) for number in range(1, 6)}
    rooms = [ask(book, number, attempt).room.usd for number, attempt in attempts.items()]
    assert rooms[:2] == [0.4, 0.4] and sum(rooms) <= 1.0
    assert book.leased.usd <= 1.0


def test_what_is_not_used_goes_to_another() -> None:
    book = LeaseBook(max_usd=0.4)
    first, second = book.open(1), book.open(2)
    assert ask(book, 1, first).granted
    refused = ask(book, 2, second)
    assert not refused.granted and refused.may_grow
    book.close(1, first, Room(0.1))
    assert ask(book, 2, second).room.usd == pytest.approx(0.3)


def test_a_refused_holder_gives_back_what_it_does_not_use() -> None:
    book = LeaseBook(max_total_output_tokens=45)
    first, second = book.open(1), book.open(2)
    assert ask(book, 1, first).room.tokens == 40
    assert not ask(book, 2, second).granted
    assert not ask(book, 1, first, used=Room(9.0, 36)).granted
    assert book.leased == Room(0.0, 36), "dollars are not capped, so they are not counted"
    assert not ask(book, 2, second).may_grow, "nobody holds anything that is not used"


def test_nobody_waits_for_what_a_silent_holder_has_leased() -> None:
    """Its successor may be waiting for the place of those that wait."""
    now = [0.0]
    book = LeaseBook(max_usd=0.4, clock=lambda: now[0])
    lost, second = book.open(1), book.open(2)
    assert ask(book, 1, lost).granted
    now[0] = 25.0
    book.hear(1, lost)
    now[0] = 50.0
    assert ask(book, 2, second).may_grow
    now[0] = 56.0
    assert ask(book, 2, second) == LeaseAnswer(Room(), granted=False, may_grow=False)
    assert book.leased == Room(0.4, 0), "what it may have spent counts on"
    book.hear(1, lost)
    assert ask(book, 2, second).may_grow


def test_what_a_lost_attempt_had_leased_counts_as_spent() -> None:
    book = LeaseBook(max_usd=1.0)
    lost = book.open(1)
    ask(book, 1, lost)
    again = book.open(1)
    assert again == lost + 1
    assert ask(book, 1, lost) == LeaseAnswer(Room(), granted=False), "it may still be alive somewhere"
    assert ask(book, 1, again).granted
    book.close(1, lost, Room())
    assert book.leased.usd == pytest.approx(0.8)
    assert "$0.400000 and 0 tokens of it with workers that were lost" in book.reached()


def test_ledgers_of_several_processes_spend_up_to_the_cap_and_not_beyond() -> None:
    """Each of 100 calls may take 0.1 dollars and takes 0.05: 19 are paid before the next might pass one dollar."""
    book, paid = LeaseBook(max_usd=1.0), []
    lock = threading.Lock()
    lm = dspy.utils.DummyLM([])

    def work(number: int) -> None:
        holder = Holder(book, number)
        holder.lock = lock
        ledger = LeasedLedger(holder, caps_usd=True, caps_tokens=False, price=PRICE).successor()
        try:
            for _ in range(25):
                held = ledger.reserve(lm, "", {"max_tokens": 10})
                ledger.settle(held, Call(role="reason", model="m", output_tokens=5, prompt_tokens=0, cost_usd=0.05))
                paid.append(0.05)
        except SpendCapReached:
            pass
        finally:
            with lock:
                book.close(number, holder.attempt, Room(ledger.used.usd))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 0.9 < sum(paid) <= 1.0
    assert book.leased.usd == pytest.approx(sum(paid))


def test_a_closed_ledger_leases_nothing() -> None:
    book = LeaseBook(max_usd=1.0)
    ledger = LeasedLedger(Holder(book, 1), caps_usd=True, caps_tokens=False, price=PRICE)
    ledger.close()
    with pytest.raises(SpendCapReached):
        ledger.reserve(dspy.utils.DummyLM([]), "", {"max_tokens": 10})
    assert book.leased == Room()
