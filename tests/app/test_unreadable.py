"""A real Electrum wallet whose file holds what this version cannot read: shown as such, and left as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from payjoin_plugin.errors import UnreadableLog
from tests.merchant import AMOUNT, Merchant, on_electrums_loop, shop
from tests.wallet.wallets import NAME, reopen


def damage(merchant: Merchant, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Change what lies in the file under our name; return it as it is then."""
    path = Path(merchant.wallet.storage.get_path())
    content = json.loads(reopen(merchant.wallet).db.dump())
    change(content["plugin_data"][NAME])
    path.write_text(json.dumps(content))
    stored: dict[str, Any] = content["plugin_data"][NAME]
    return stored


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "damaged": lambda log: log["events"][0].pop("address"),
    "of a newer format": lambda log: log.update(format=2),
    "of a sender": lambda log: log.update(role="sender"),
    "empty": lambda log: log["events"].clear(),
    "of events that do not follow": lambda log: log["events"].append({"at": 1, "event": "posted_proposal"}),
}


@pytest.mark.parametrize("what", DAMAGE)
@on_electrums_loop
async def test_a_log_that_is_unreadable_is_shown_as_such_and_left_alone_and_the_others_work(
    tmp_path: Path, what: str
) -> None:
    async with shop(tmp_path) as merchant:
        (broken, _), (sound, uri) = merchant.offer(), merchant.offer(AMOUNT + 1)
        await merchant.close()
        stored = damage(merchant, lambda ours: (DAMAGE[what](ours["sessions"][broken]), None)[1])
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        row = again.row(broken)
        assert row["status"] == "unreadable"
        assert ("newer" in row["reason"]) == (what == "of a newer format")
        sender = again.shop.sender(uri, AMOUNT + 1)
        await sender.run()
        again.sees(sender.payjoin())
        await again.until_row(sound, status="completed")
        with pytest.raises(UnreadableLog):
            await again.sessions.abort(broken)
        again.offer(AMOUNT + 2)
        again.wallet.save_db()
        assert again.logs_on_disk()[broken] == stored["sessions"][broken]
        assert [row["session_id"] for row in await again.sessions.report.rows(every=True)].count(broken) == 1
        await again.close()


@pytest.mark.parametrize("change", [{"version": 2}, {"sessions": []}, {"version": "one"}], ids=str)
@on_electrums_loop
async def test_data_that_is_unreadable_as_a_whole_is_left_as_it_is_and_the_wallet_works(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    async with shop(tmp_path) as merchant:
        merchant.offer()
        await merchant.close()
        stored = damage(merchant, lambda ours: ours.update(change))
        again = Merchant(merchant.shop, reopen(merchant.wallet))
        await again.open()
        request = again.request()
        assert "pj=" not in again.uri(request)
        again.wallet.delete_request(request.get_id())
        again.wallet.save_db()
        assert again.on_disk()["plugin_data"][NAME] == stored
        await again.close()
