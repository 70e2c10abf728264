"""A real Electrum wallet that stops at any stage of a payjoin, and what its file says when it is opened again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from payjoin_plugin.wallet.kept import ORIGINALS_KEY
from tests.mailroom.faults import Fault, Hold
from tests.merchant import AMOUNT, Merchant, endpoint_of, on_electrums_loop, shop
from tests.pair import Sender
from tests.session.test_pair import HAPPY
from tests.wallet.wallets import NAME, PASSWORD, reopen

# Restarted


class Stages:
    """Brings a session to a stage and leaves it there."""

    def __init__(self, merchant: Merchant, uri: str, session_id: str) -> None:
        self.merchant, self.session_id = merchant, session_id
        self.mailbox = endpoint_of(uri).mailbox
        self.hold = Hold()

    async def waiting_for_the_sender(self) -> None:
        """Nothing has come."""

    async def checking_the_original(self) -> None:
        asked = asyncio.Event()

        async def never() -> None:
            asked.set()
            await asyncio.Event().wait()

        session = self.merchant.network.interfaces["main"].session
        assert session is not None
        session.on_batch = never
        await asked.wait()
        session.on_batch = nothing
        # Nothing of ours has saved it; Electrum may have, for reasons of its own.
        assert self.merchant.events_on_disk(self.session_id) in (["created"], ["created", "retrieved_original"])

    async def waiting_for_the_user(self) -> None:
        await self.merchant.until_row(self.session_id, reason="needs_approval")
        await self.merchant.until(lambda: self.merchant.events_on_disk(self.session_id)[-1] == "accepted_original")

    async def about_to_post(self) -> None:
        await self._held(self.hold.before)

    async def posted_and_not_told_so(self) -> None:
        await self._held(self.hold.after)

    async def posted(self) -> None:
        await self.merchant.until_row(self.session_id, stage="waiting_for_broadcast")
        assert self.merchant.events_on_disk(self.session_id)[-1] == "signed_proposal"

    async def _held(self, fault: Fault) -> None:
        directory = self.merchant.shop.mailroom.directory
        directory.inject(fault, when=lambda seen: seen.is_post() and not seen.is_at(self.mailbox))
        await self.hold.reached.wait()
        assert self.merchant.events_on_disk(self.session_id)[-1] == "signed_proposal"


async def nothing() -> None:
    pass


def answers(merchant: Merchant, sender: Sender) -> set[bytes]:
    """All that was ever posted for the sender, opened."""
    sender.world.asked = [seen.inner for seen in merchant.shop.mailroom.directory.journal.requests if seen.inner]
    return sender.answers


def only_coin(merchant: Merchant) -> str:
    """The one coin that can be spent."""
    (coin,) = merchant.wallet.get_spendable_coins(confirmed_only=True)
    outpoint: str = coin.prevout.to_str()
    return outpoint


@asynccontextmanager
async def restarted(merchant: Merchant) -> AsyncIterator[Merchant]:
    again = await merchant.crash_and_restart()
    try:
        yield again
    finally:
        await again.close()


@pytest.mark.parametrize(
    "stage",
    [
        "waiting_for_the_sender",
        "checking_the_original",
        "waiting_for_the_user",
        "about_to_post",
        "posted_and_not_told_so",
        "posted",
    ],
)
@on_electrums_loop
async def test_a_wallet_that_is_killed_at_any_stage_goes_on_and_gives_one_answer(tmp_path: Path, stage: str) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.config.PAYJOIN_ASK_BEFORE_CONTRIBUTING = stage == "waiting_for_the_user"
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        stages = Stages(merchant, uri, session_id)
        reached = asyncio.ensure_future(getattr(stages, stage)())
        paying = asyncio.ensure_future(sender.run())
        await reached
        async with restarted(merchant) as again:
            stages.hold.released.set()
            if stage == "waiting_for_the_user":
                await again.until_row(session_id, reason="needs_approval")
                again.sessions.answer(session_id, password=None)
            await paying
            again.sees(sender.payjoin())
            row = await again.until_row(session_id, status="completed")
            assert row["payjoin_txid"] == sender.payjoin().txid()
            events = again.events(session_id)
            assert events in ([*HAPPY, "Closed"], [*HAPPY[:-1], "Closed"])  # seen before the directory said yes
            assert len(answers(again, sender)) == 1


@on_electrums_loop
async def test_a_locked_wallet_that_was_killed_asks_again(tmp_path: Path) -> None:
    async with shop(tmp_path, password=PASSWORD) as merchant:
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        paying = asyncio.ensure_future(sender.run())
        await merchant.until_row(session_id, reason="locked")
        await merchant.until(lambda: merchant.events_on_disk(session_id)[-1] == "accepted_original")
        async with restarted(merchant) as again:
            await again.until_row(session_id, reason="locked")
            again.sessions.answer(session_id, password=PASSWORD)
            await paying
            assert len(answers(again, sender)) == 1


@on_electrums_loop
async def test_a_payjoin_that_came_while_the_wallet_was_closed_is_seen_when_it_opens(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        await sender.run()
        payjoin = sender.payjoin()
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await merchant.close()
        again.sees(payjoin)
        await again.open()
        await again.until_row(session_id, status="completed")
        await again.close()


@on_electrums_loop
async def test_a_closed_session_stays_closed(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        session_id, _ = merchant.offer()
        await merchant.sessions.abort(session_id)
        async with restarted(merchant) as again:
            assert again.row(session_id)["status"] == "aborted"
            assert again.sessions.live.runners == {}


@on_electrums_loop
async def test_what_was_seen_is_remembered(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        _, uri = merchant.offer()
        sender = merchant.shop.sender(uri)
        await sender.run()
        async with restarted(merchant) as again:
            second, second_uri = again.offer()
            other = again.shop.sender(second_uri, made=again.shop.same_coin(sender, second_uri))
            await other.run()
            assert again.row(second)["reason"] == "seen_before"


@on_electrums_loop
async def test_our_coin_stays_reserved(tmp_path: Path) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        _, uri = merchant.offer()
        await merchant.shop.sender(uri).run()
        async with restarted(merchant) as again:
            assert again.wallet.get_spendable_coins(confirmed_only=True) == []


@on_electrums_loop
async def test_a_coin_that_was_unfrozen_long_ago_is_reserved_like_any_other(tmp_path: Path) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        merchant.wallet.set_frozen_state_of_coins([only_coin(merchant)], freeze=False)
        _, uri = merchant.offer()
        await merchant.shop.sender(uri).run()
        assert merchant.wallet.get_spendable_coins(confirmed_only=True) == []
        async with restarted(merchant) as again:
            assert again.wallet.get_spendable_coins(confirmed_only=True) == []


@on_electrums_loop
async def test_a_reserved_coin_that_the_user_unfreezes_stays_so(tmp_path: Path) -> None:
    async with shop(tmp_path, 300_000) as merchant:
        coin = only_coin(merchant)
        _, uri = merchant.offer()
        await merchant.shop.sender(uri).run()
        merchant.wallet.set_frozen_state_of_coins([coin], freeze=False)
        assert only_coin(merchant) == coin
        async with restarted(merchant) as again:
            assert again.sessions.reserved_outpoints() == {coin}
            assert only_coin(again) == coin


@on_electrums_loop
async def test_keys_are_in_the_file_and_the_first_request_after_a_start_has_its_pj_at_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as merchant:
        merchant.wallet.save_db()
        await merchant.close()
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open(with_keys=False)
        again.offer()
        await again.close()


@on_electrums_loop
async def test_of_two_copies_of_a_wallet_the_slower_one_keeps_its_coin_to_the_end(tmp_path: Path) -> None:
    async with shop(tmp_path, *range(300_000, 300_008)) as merchant:  # of which both choose the same one
        session_id, uri = merchant.offer()
        copy = Merchant(merchant.shop, reopen(merchant.wallet))
        copy.wallet.storage.path = str(tmp_path / "copy")
        await copy.open()
        both = (merchant, copy)
        directory = merchant.shop.mailroom.directory
        await directory.journal.until(lambda: directory.waiting(endpoint_of(uri).mailbox) == 2)
        sender = merchant.shop.sender(uri)
        await sender.run()
        await merchant.until(lambda: any(one.sessions.live.runners[session_id].answered_elsewhere for one in both))
        (slower,) = (one for one in both if one.sessions.live.runners[session_id].answered_elsewhere)
        (coin,) = slower.sessions.reserved_outpoints()
        payjoin = sender.payjoin()
        assert coin in [txin.prevout.to_str() for txin in payjoin.inputs()]
        slower.sees(payjoin)
        await slower.until(lambda: slower.row(session_id)["status"] != "active")
        assert slower.sessions.reserved_outpoints() == set()
        await copy.close()


# Late


@on_electrums_loop
async def test_a_request_made_before_the_keys_came_gets_its_pj_when_they_come(tmp_path: Path) -> None:
    async with shop(tmp_path, with_keys=False) as merchant:
        request = merchant.request()
        assert "pj=" not in merchant.uri(request)
        assert list(merchant.on_disk()["plugin_data"][NAME]["waiting"]) == [request.get_id()]
        merchant.services.start()
        await merchant.until(lambda: "pj=" in merchant.uri(request))
        session_id = merchant.session_of(request)
        assert merchant.events_on_disk(session_id) == ["created"]
        assert merchant.on_disk()["plugin_data"][NAME]["waiting"] == {}
        assert merchant.sessions.store.saves == 1
        await merchant.shop.sender(merchant.uri(request)).run()
        await merchant.until_row(session_id, stage="waiting_for_broadcast")


@on_electrums_loop
async def test_a_late_session_that_is_not_on_disk_is_not_in_the_uri(tmp_path: Path) -> None:
    async with shop(tmp_path, with_keys=False) as merchant:
        request = merchant.request()
        with merchant.full_disk():
            merchant.services.start()
            await merchant.until(lambda: merchant.sessions.store.session_of_request(request.get_id()) is not None)
            refusals = merchant.refusals
            await merchant.until(lambda: merchant.refusals > refusals)
            assert "pj=" not in merchant.uri(request)
        await merchant.until(lambda: "pj=" in merchant.uri(request))
        assert merchant.events_on_disk(merchant.session_of(request)) == ["created"]


@on_electrums_loop
async def test_a_request_that_still_waits_after_a_restart_gets_its_pj(tmp_path: Path) -> None:
    async with shop(tmp_path, with_keys=False) as merchant:
        request = merchant.request()
        async with restarted(merchant) as again:
            await again.until(lambda: "pj=" in again.uri(again.wallet.get_request(request.get_id())))


@pytest.mark.parametrize("gone", ["deleted", "declined", "paid"])
@on_electrums_loop
async def test_a_request_that_needs_no_pj_any_more_gets_none(tmp_path: Path, gone: str) -> None:
    async with shop(tmp_path, with_keys=False) as merchant:
        request = merchant.request()
        other = merchant.request(AMOUNT + 1)
        match gone:
            case "deleted":
                merchant.wallet.delete_request(request.get_id())
            case "declined":
                await merchant.sessions.decline(request.get_id())
            case _:
                merchant.sees(merchant.shop.payment(request.get_address()).transaction())
        merchant.services.start()
        await merchant.until(lambda: "pj=" in merchant.uri(other))
        assert merchant.sessions.store.session_of_request(request.get_id()) is None
        assert merchant.sessions.store.waiting_requests() == {}


def tear(path: Path, before: str) -> None:
    """Leave what was written of a file before the power went."""
    path.write_text(path.read_text().partition(before)[0])


@pytest.mark.parametrize("then", ["answered", "expired"])
@on_electrums_loop
async def test_what_a_torn_file_lacks_of_a_held_payment_is_written_again(
    tmp_path: Path, then: str, set_ahead: Callable[[int], None]
) -> None:
    async with shop(tmp_path, wallet_partial_writes=True) as first:
        first.wallet.save_db()
        merchant = await first.crash_and_restart()  # from here on Electrum appends
        session_id, sender, paying = await merchant.asked()
        await merchant.sessions.store.flush()
        path = Path(merchant.wallet.storage.get_path())
        merchant.sessions.store.close()
        await merchant.close()
        tear(path, ORIGINALS_KEY)
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        txid = sender.made.transaction().txid()
        assert again.sessions.originals.holds(txid) != []
        if then == "answered":
            await again.until_row(session_id, reason="needs_approval")
            again.sessions.answer(session_id, password=None)
            await again.until_row(session_id, stage="waiting_for_broadcast")
        set_ahead(7200)
        await again.until(lambda: again.network.broadcast == [txid])
        await again.close()
        paying.cancel()
