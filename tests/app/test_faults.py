"""A fault at one session or payment, in a real wallet: it keeps no other one back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from payjoin_plugin.app.absence import awaken
from payjoin_plugin.app.ending import end
from payjoin_plugin.wallet.kept import ORIGINALS_KEY
from tests.app.test_settling import hold
from tests.merchant import Merchant, on_electrums_loop, shop
from tests.wallet.wallets import reopen


class OnceFaulty:
    """Calls through, but for the first time."""

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner, self.faults = inner, 0

    def __call__(self, *args: Any, **details: Any) -> Any:
        if not self.faults:
            self.faults += 1
            raise ZeroDivisionError
        return self.inner(*args, **details)


@pytest.mark.parametrize("way", ["one after the other", "all of them"])
@on_electrums_loop
async def test_a_session_that_cannot_be_ended_with_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    async with shop(tmp_path) as merchant:
        requests = [merchant.request(), merchant.request()]
        _, healthy = map(merchant.session_of, requests)
        monkeypatch.setattr("payjoin_plugin.app.sessions.end", faulty := OnceFaulty(end))
        if way == "all of them":
            merchant.wallet.clear_requests()
        else:
            for request in requests:
                merchant.wallet.delete_request(request.get_id())
        assert faulty.faults == 1
        assert merchant.row(healthy)["status"] == "aborted"
        assert merchant.wallet.get_sorted_requests() == []


@on_electrums_loop
async def test_a_request_that_another_thread_deletes_meanwhile(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _uri = merchant.offer()
        merchant.sessions.requests_deleted(["gone", merchant.row(session_id)["request_id"]])
        assert merchant.row(session_id)["status"] == "aborted"


@on_electrums_loop
async def test_a_session_that_cannot_be_looked_at_when_the_clock_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path) as merchant:
        ids = [merchant.offer()[0], merchant.offer()[0]]
        set_ahead(7200)
        for session_id in ids:
            await merchant.until_row(session_id, status="expired")
        await merchant.until(lambda: merchant.sessions.ledger.lapsed.keys() >= set(ids))
        monkeypatch.setattr("payjoin_plugin.app.sessions.awaken", faulty := OnceFaulty(awaken))
        set_ahead(0)
        await merchant.until(lambda: all(merchant.sessions.live.is_at_work(one) for one in ids))
        assert faulty.faults == 1


@on_electrums_loop
async def test_a_payment_that_cannot_be_kept_again_at_the_start(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        paying = [(await hold(merchant))[2] for _ in range(2)]
        await merchant.sessions.store.flush()
        merchant.sessions.store.close()
        await merchant.close()
        alone = reopen(merchant.wallet)
        for txid in list(alone.db.get_dict(ORIGINALS_KEY)):
            alone.db.get_dict(ORIGINALS_KEY).pop(txid)
        alone.save_db()
        again = Merchant(merchant.shop, reopen(alone))
        again.sessions.ledger.keep_original = faulty = OnceFaulty(again.sessions.ledger.keep_original)  # type: ignore[method-assign]
        await again.open()
        assert faulty.faults == 1
        assert len(again.sessions.store.kept.all()) == 1
        await again.close()
        for one in paying:
            one.cancel()
