"""Random histories of a merchant, held against a model of the money (books.py): who paid what, for which request."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from electrum.invoices import PR_PAID, PR_UNCONFIRMED
from electrum.util import trigger_callback

from payjoin_plugin.app import originals, settling
from payjoin_plugin.client import deadline
from payjoin_plugin.client.pace import Backoff
from payjoin_plugin.wallet.kept import ORIGINALS_KEY
from tests.app.books import paid_to
from tests.app.histories import History
from tests.app.test_restarting import answers
from tests.merchant import on_electrums_loop, shop
from tests.wallet.wallets import imported_keys

SEEDS = range(*map(int, os.environ.get("PAYJOIN_SEEDS", "0:8").split(":")))
STEPS, SHORT = 35, 0.02
COINS = (100_000, 110_000, 120_000, 130_000, 140_000, 150_000)


# What holds after each step


async def what_is_due_goes_out_and_nothing_else(history: History) -> None:
    trigger_callback("wallet_updated", history.wallet)
    await asyncio.sleep(SHORT)  # what should not go has its chance
    await history.merchant.until(lambda: bool(history.faults) or not history.model.must_go())
    assert not history.faults, history.faults


def our_own_coin_pays_nobody_elses_request(history: History) -> None:
    ever = history.model.ever  # Electrum counts what was dropped, too
    payjoins = {one.payjoin.txid(): one for one in history.model.held if one.payjoin is not None}
    for ask in [one for one in history.model.asks if one.is_live and one.is_fresh]:
        others = {
            txid: one.tx for txid, one in payjoins.items() if one.ask is not ask
        }  # of these the senders' own part
        is_paid = sum(paid_to(ask, others.get(txid, tx)) for txid, tx in ever.items()) >= ask.sat
        status = history.wallet.get_invoice_status(history.wallet.get_request(ask.request.get_id()))
        assert is_paid or status not in (PR_PAID, PR_UNCONFIRMED), f"another one's payjoin pays {ask.name}"


def a_session_ends_once(history: History) -> None:
    ended = {one: status for one, status in history.statuses().items() if status not in ("active", "expired")}
    assert ended == ended | history.outcomes, "a session ended anew"
    history.outcomes = ended


def what_is_held_stays(history: History) -> None:
    in_file = history.wallet.db.get_dict(ORIGINALS_KEY)
    assert all(held.tx.txid() in in_file for held in history.model.kept()), "an original is kept no more"


@pytest.fixture(autouse=True)
def nothing_takes_long(monkeypatch: pytest.MonkeyPatch, set_ahead: object) -> None:
    monkeypatch.setattr(settling, "BREATH", 0.0)
    monkeypatch.setattr(originals, "UNHEARD", 0.0)
    monkeypatch.setattr(deadline, "LONGEST_NAP", SHORT / 2)
    monkeypatch.setattr(Backoff, "next", lambda _: SHORT)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["standard", "imported"])
@on_electrums_loop
async def test_a_history(
    tmp_path: Path, set_ahead: Callable[[int], None], caplog: pytest.LogCaptureFixture, kind: str, seed: int
) -> None:
    keys = "\n".join(imported_keys(f"key {number}", "p2wpkh") for number in range(4))
    async with shop(tmp_path, *COINS, text=keys if kind == "imported" else None) as merchant:
        history = History(merchant, seed, set_ahead)
        try:
            while len(history.steps) < STEPS:
                await history.step()
                await what_is_due_goes_out_and_nothing_else(history)
                our_own_coin_pays_nobody_elses_request(history)
                a_session_ends_once(history)
                what_is_held_stays(history)
            assert all(len(answers(history.merchant, held.sender)) <= 1 for held in history.model.held)
            wrong = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR or one.exc_info]
            assert not wrong, wrong
        except Exception as error:
            due, steps = [held.name for held in history.model.must_go()], "; ".join(history.steps)
            raise AssertionError(f"{error}\nstill due: {due}; {kind} wallet, seed {seed}: {steps}") from error
        finally:
            for held in history.model.held:
                held.paying.cancel()
            await history.merchant.close()
