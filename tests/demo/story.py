"""The demo's eight steps: what happens, and what is said about it. Amounts are satoshis."""

from __future__ import annotations

import re
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.demo.page import BOLD, DIM, INDENT, ClaimFailed, Page
from tests.demo.stage import ALICES_COIN, BOBS_COINS, Stage, Transaction, set_the_stage
from tests.demo.window import Window
from tests.sender.payment import Terms, prepare
from tests.stand.electrum_daemon import SATS
from tests.stand.payjoin_cli import txid_of

AMOUNT = 100_000
"""What Bob asks Alice for."""
TEA = 20_000
"""What Bob asks Carol for."""
FEE_RATE = 2.0
"""sat/vB of Alice's payment."""
OFFER = 100
"""What Alice gives at most for the fee of Bob's coin: less than it costs, so that Bob has a share to pay."""


@dataclass(frozen=True)
class Payjoin:
    """The transaction that came of it, and the one that would have been without."""

    txid: str
    transaction: Transaction
    original: Transaction

    @property
    def alice_fee(self) -> int:
        return -self.transaction.gain("Alice") - AMOUNT

    @property
    def bob_fee(self) -> int:
        return AMOUNT - self.transaction.gain("Bob")


def tell(page: Page, folder: Path, *, rust: bool, window: bool) -> None:
    """Play the story and tell it. All that it starts has ended when this returns or raises."""
    with ExitStack() as stack:
        page.step("The stage")
        stage = set_the_stage(page, folder, stack, rust=rust, window=window)
        prepare_bob(page, stage)
        before = balances(stage)
        request = ask(page, stage)
        txid = pay(page, stage, request["URI"])
        payjoin = show_transaction(page, stage, txid, request)
        session = show_session(page, stage, payjoin, request)
        show_balances(page, stage, before, payjoin)
        show_credit(page, stage, request, payjoin, session)
        pay_plainly_and_mine(page, stage, request, before)
        page.line()
        if stage.window is not None and sys.stdout.isatty():
            page.line("The window is yours until you close it, or press Ctrl-C here.", style=BOLD)
            with suppress(KeyboardInterrupt):
                stage.window.wait_until_closed()
        page.line("Stopping everything …", style=DIM)


def prepare_bob(page: Page, stage: Stage) -> None:
    coins = " and ".join(f"{coin:,}" for coin in BOBS_COINS)
    page.line()
    page.text(f"Bob has two coins, of {coins} sat; Alice has one, of {ALICES_COIN:,} sat.")
    page.text(f"({SATS:,} satoshis, sat for short, are 1 bitcoin.)")
    if stage.window is not None:
        return
    page.line()
    page.command("electrum setconfig plugins.payjoin.offer_in_commands true")
    stage.bob.daemon.setconfig("plugins.payjoin.offer_in_commands", value=True)
    page.text(
        "With this, requests made by commands offer payjoin too. It is off by default: a payjoin brings Bob the "
        "payment and a coin of his own in one sum, and a program that credits whatever arrived at an address would "
        "give that coin away. Step 7 shows what such a program has to read."
    )


def ask(page: Page, stage: Stage) -> dict[str, Any]:
    page.step(f"Bob asks for {AMOUNT:,} sat")
    request = make_request(page, stage, AMOUNT, "coffee")
    page.text("Its URI, which is one line; a QR code would say the same:")
    page.line()
    page.table(*parts_of(request))
    page.line()
    page.text('A wallet that knows nothing of payjoin reads what stands above "&pjos" and pays as ever: step 8.')
    return request


def make_request(page: Page, stage: Stage, amount_sat: int, message: str) -> dict[str, Any]:
    """Make a request by the receive tab, where there is a window, or by a command."""
    if stage.window is None:
        page.command(f"electrum add_request {Decimal(amount_sat) / SATS} --memo {message}")
        return stage.bob.payjoin_request(amount_sat, memo=message)
    page.text(f"In the window's Receive tab he types {message!r} and the amount, and presses Onchain.")
    request = stage.bob.get_request(stage.window.request(amount_sat, message))
    shows(page, stage.window, "Waiting for the sender to pay")
    page.check(stage.window.read()["uri"] == request["URI"], "beside it stands the link, with payjoin, and its QR code")
    return request


def shows(page: Page, window: Window, beginning: str) -> None:
    """Tell what the window's status line says, once it begins so, and let the viewer read it there."""
    page.entry("window", f"“{window.until_line(beginning)}”")
    window.pause()


def parts_of(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Take the URI apart, and say what each part is for."""
    uri, plain = request["URI"], request["payjoin"]["plain_uri"]
    mailbox, _, keys = uri.removeprefix(f"{plain}&pjos=0").partition("%23")
    until, directory_key, bobs_key = keys.split("-")
    clock = time.strftime("%H:%M", time.localtime(request["timestamp"] + request["expiry"]))
    parts = [
        *((part, "Bob's address" if part.startswith("bitcoin:") else "") for part in re.split("(?=[?&])", plain)),
        ("&pjos=0", "payjoin won't change that address"),
        (mailbox, "Bob's mailbox at the directory"),
        (f"%23{until}", f"open until {clock}"),
        (f"-{directory_key}", "the directory's key"),
        (f"-{bobs_key}", "Bob's key, for this payment alone"),
    ]
    if "".join(part for part, _ in parts) != uri:
        raise ClaimFailed(f"the URI has other parts than the demo knows of: {uri}")
    return parts


def pay(page: Page, stage: Stage, uri: str) -> str:
    page.step("Alice pays")
    if stage.cli is not None:
        page.command(f"payjoin-cli send --fee-rate {FEE_RATE:g} URI")
        run = stage.cli.send(uri, fee_rate=FEE_RATE)
        txid = txid_of(run)
        run.wait()
        page.entry(
            f"{run.duration:.2f} s",
            "That was Alice's wait. payjoin-cli made and signed a payment without payjoin, posted it through the "
            "relay, got Bob's answer with a coin of his, checked it, signed again, and broadcast.",
        )
    else:
        payment = prepare(stage.alice, uri, relay=stage.relay, terms=Terms(fee_rate=FEE_RATE, offer_sat=OFFER))
        payment.fetch()
        txid = payment.broadcast_payjoin()
        moments = payment.moments
        page.entry("before", f"Her wallet makes and signs a payment without payjoin, at {FEE_RATE:g} sat/vB.")
        page.entry("0.00 s", "Her wallet posts it through the relay, sealed so that only Bob can read it,")
        page.entry("", f"and offers {OFFER} sat more at most for the fee of a coin of his.")
        page.entry(
            f"{moments.wait:.2f} s", "Bob's answer is here: a coin of his is in it, signed. Her wallet has checked it."
        )
        page.entry(f"{moments.whole:.2f} s", "Her wallet has signed again and broadcast. That was Alice's wait.")
    page.line()
    page.line(f"{INDENT}transaction {txid}")
    if stage.window is not None:
        shows(page, stage.window, "Paid by payjoin")
        stage.window.press("Show transaction")
        stage.window.until(lambda: "Payjoin. You added" in texts(stage.window), "the transaction's dialog says payjoin")
        page.entry("", "Its dialog is open, and says what Bob added, what he received, and who paid which fee.")
        stage.window.pause()
    return txid


def texts(window: Window | None) -> str:
    """Return all that the window's dialogs say."""
    return "\n".join(window.dialogs().values()) if window is not None else ""


def show_transaction(page: Page, stage: Stage, txid: str, request: dict[str, Any]) -> Payjoin:
    original = stage.bob.rpc("payjoin_original", session_id=request["payjoin"]["session_id"])
    payjoin = Payjoin(
        txid, stage.transaction(stage.stand.node.rpc("getrawtransaction", txid)), stage.transaction(original)
    )
    tx, alice, bob = payjoin.transaction, payjoin.alice_fee, payjoin.bob_fee
    for_bobs_coin = tx.fee - payjoin.original.fee

    page.step("The transaction, in sat")
    notes_in = {"Alice": "her coin", "Bob": "his coin: the payjoin"}
    notes_out = {"Alice": "her change", "Bob": f"his coin + {AMOUNT:,} - {bob:,}"}
    page.table(
        *(("in", piece.who, piece.address, sat(piece.sat), notes_in.get(piece.who, "")) for piece in tx.inputs),
        *(("out", piece.who, piece.address, sat(piece.sat), notes_out.get(piece.who, "")) for piece in tx.outputs),
    )
    page.line()
    alices = f"{sat(payjoin.original.fee)} as without payjoin, and {sat(alice - payjoin.original.fee)} for Bob's coin"
    bobs = f"the rest of the {sat(for_bobs_coin)} for his coin" if bob else "nothing: Alice offered as much as that"
    page.table(
        ("fee", "both", sat(tx.fee), f"{tx.fee / tx.vsize:.2f} sat/vB for {tx.vsize:.0f} vB"),
        ("", "Alice", sat(alice), alices),
        ("", "Bob", sat(bob), bobs),
    )
    page.line()
    page.check({piece.who for piece in tx.inputs} == {"Alice", "Bob"}, "both put in a coin of theirs")
    amounts = {piece.sat for piece in tx.outputs}
    page.check(AMOUNT not in amounts, f"the {AMOUNT:,} sat that Alice paid stand nowhere in it")
    return payjoin


def show_session(page: Page, stage: Stage, payjoin: Payjoin, request: dict[str, Any]) -> dict[str, Any]:
    session_id = request["payjoin"]["session_id"]
    page.step("What Bob's Electrum recorded")
    if stage.window is not None:
        stage.window.close_dialogs()
        stage.window.press("Details")
        stage.window.until(lambda: "Answered" in texts(stage.window), "the sessions' window tells what happened")
        page.text("The window Payjoin sessions, of the menu Wallet, tells the same.")
        stage.window.pause()
    page.command(f"electrum payjoin_session {session_id}")
    session = stage.bob.until(session_id, status="completed")
    page.table(
        *(
            (time.strftime("%H:%M:%S", time.localtime(event["at"])), event["event"], shorten(event["detail"]))
            for event in session["events"]
        )
    )
    page.line()
    page.check(session["payjoin_txid"] == payjoin.txid, "its payjoin_txid is that of the transaction above")
    page.check(session["receiver_fee_sat"] == payjoin.bob_fee, "and its receiver_fee_sat is what Bob really paid")
    return session


def show_balances(page: Page, stage: Stage, before: dict[str, int], payjoin: Payjoin) -> None:
    after = balances(stage)
    alice, bob = payjoin.alice_fee, payjoin.bob_fee
    notes = {
        "Alice": f"the {AMOUNT:,}, and a fee of {sat(alice)}",
        "Bob": f"the {AMOUNT:,}, less a fee of {sat(bob)}",
    }
    page.step("Balances, in sat")
    page.table(
        ("", "before", "after", "change", ""),
        *((who, sat(before[who]), sat(after[who]), f"{after[who] - before[who]:+,}", notes[who]) for who in before),
    )
    page.line()
    page.check(
        after["Bob"] == before["Bob"] + AMOUNT - bob, "Bob has exactly the amount more, less his share of the fee"
    )
    page.check(after["Alice"] == before["Alice"] - AMOUNT - alice, "Alice has exactly the amount less, and her share")


def show_credit(page: Page, stage: Stage, request: dict[str, Any], payjoin: Payjoin, session: dict[str, Any]) -> None:
    page.step("What a shop's program must read")
    page.command(f"electrum get_request {request['request_id']}")
    shown = stage.bob.get_request(request["request_id"])
    arrived = sum(piece.sat for piece in payjoin.transaction.outputs if piece.address == request["address"])
    received = shown["payjoin"]["received_sat"]
    page.table(
        ("status_str", shown["status_str"], "Electrum's own word: paid, and not in a block yet"),
        ("payjoin.received_sat", sat(received), "what Alice's payment brought: credit this"),
        ("came to the address", sat(arrived), "with Bob's own coin in it: never credit this"),
    )
    page.line()
    page.check(received == AMOUNT - payjoin.bob_fee, "received_sat is the amount, less Bob's share of the fee")
    page.check(arrived == received + session["contributed_sat"], "the rest of what came is the coin that Bob put in")


def pay_plainly_and_mine(page: Page, stage: Stage, coffee: dict[str, Any], before: dict[str, int]) -> None:
    page.step("Carol, whose wallet knows nothing of payjoin; and a block")
    tea = make_request(page, stage, TEA, "tea")
    page.text("The answer is such a URI again. Of it, Carol's wallet reads:")
    page.line(f"{INDENT}{tea['payjoin']['plain_uri'].partition('&')[0]}")
    txid = stage.stand.node.fund(tea["address"], TEA)
    page.line(f"{INDENT}transaction {txid}")
    stage.stand.mine()
    page.line()
    page.text("A block was mined. Bob's Electrum says:")
    rows, received = [], 0
    for request in (coffee, tea):
        shown = stage.bob.until_request(request["request_id"], lambda now: now["status_str"] == "Paid", "is paid")
        session = stage.bob.until(request["payjoin"]["session_id"], confirmations=1)
        received += shown["payjoin"]["received_sat"]
        rows.append((shown["message"], shown["status_str"], session["status"], sat(shown["payjoin"]["received_sat"])))
    page.table(("request", "status_str", "payjoin.status", "payjoin.received_sat"), *rows)
    page.line()
    page.check(balances(stage)["Bob"] - before["Bob"] == received, "Bob has exactly what these two brought")
    if (window := stage.window) is not None:
        window.close_dialogs()
        window.until(lambda: any(mark for _, mark in window.history()), "the history marks the payjoin")
        marked = [description for description, mark in window.history() if mark]
        page.check(marked == ["coffee"], "the window's history marks the payjoin, and it alone")


def balances(stage: Stage) -> dict[str, int]:
    return {"Alice": stage.alice.balance_sat(), "Bob": stage.bob.balance_sat()}


def shorten(text: str) -> str:
    """Cut the middle out of transaction IDs."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{48}([0-9a-f]{8})\b", r"\1…\2", text)


def sat(amount: int) -> str:
    return f"{amount:,}"
