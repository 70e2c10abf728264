"""The demo's eight steps: what happens, and what is said about it. Amounts are satoshis."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.demo.page import DIM, INDENT, ClaimFailed, Page
from tests.demo.stage import ALICES_COIN, BOBS_COINS, Stage, Transaction, set_the_stage
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


def tell(page: Page, folder: Path, *, rust: bool) -> None:
    """Play the story and tell it. All that it starts has ended when this returns or raises."""
    with ExitStack() as stack:
        page.step("The stage")
        stage = set_the_stage(page, folder, stack, rust=rust)
        prepare_bob(page, stage)
        before = balances(stage)
        request = ask(page, stage)
        txid = pay(page, stage, request["URI"])
        paid = show_transaction(page, stage, txid, request)
        session = show_session(page, stage, txid, request)
        show_balances(page, stage, before, paid, session)
        show_credit(page, stage, request, paid, session)
        pay_plainly_and_mine(page, stage, request, before)
        page.line()
        page.line("Stopping everything …", style=DIM)


def prepare_bob(page: Page, stage: Stage) -> None:
    coins = " and ".join(f"{coin:,}" for coin in BOBS_COINS)
    page.line()
    page.text(f"Bob has two coins, of {coins} sat; Alice has one, of {ALICES_COIN:,} sat. (1 BTC is {SATS:,} sat.)")
    page.line()
    page.command("electrum setconfig plugins.payjoin.offer_in_commands true")
    stage.bob.daemon.setconfig("plugins.payjoin.offer_in_commands", value=True)
    page.text(
        "With this, requests made by commands offer payjoin too. It is off by default: a payjoin brings Bob the payment "
        "and a coin of his own in one sum, and a program that credits whatever arrived at an address would give that "
        "coin away. Step 7 shows what such a program has to read."
    )


def ask(page: Page, stage: Stage) -> dict[str, Any]:
    page.step(f"Bob asks for {AMOUNT:,} sat")
    page.command(f"electrum add_request {Decimal(AMOUNT) / SATS} --memo coffee")
    request = stage.bob.payjoin_request(AMOUNT, memo="coffee")
    page.text("Its URI, which is one line; a QR code would say the same:")
    page.line()
    page.table(*parts_of(request))
    page.line()
    page.text('A wallet that knows nothing of payjoin reads the lines above "&pjos" and pays as ever: see step 8.')
    return request


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
            "That was Alice's wait: payjoin-cli made and signed a payment without payjoin, posted it through the relay, "
            "got Bob's answer with a coin of his, checked it, signed again, and broadcast:",
        )
    else:
        payment = prepare(stage.alice, uri, relay=stage.relay, terms=Terms(fee_rate=FEE_RATE, offer_sat=OFFER))
        payment.fetch()
        txid = payment.broadcast_payjoin()
        moments = payment.moments
        page.entry("before", f"Her wallet makes and signs a payment without payjoin, at {FEE_RATE:g} sat/vB.")
        page.entry("0.00 s", "It posts that through the relay, sealed with Bob's key.")
        page.entry("", f"It offers at most {OFFER} sat more for the fee of a coin of his.")
        page.entry(
            f"{moments.wait:.2f} s", "Bob's answer is here, with a coin of his, signed. It checks what was changed."
        )
        page.entry(f"{moments.whole:.2f} s", "It has signed again and broadcast. That was Alice's wait.")
    page.line()
    page.line(f"{INDENT}transaction {txid}")
    return txid


def show_transaction(page: Page, stage: Stage, txid: str, request: dict[str, Any]) -> Transaction:
    session_id = request["payjoin"]["session_id"]
    paid = stage.transaction(stage.stand.node.rpc("getrawtransaction", txid))
    original = stage.transaction(stage.bob.rpc("payjoin_original", session_id=session_id))
    alice, bob = -paid.gain("Alice") - AMOUNT, AMOUNT - paid.gain("Bob")
    from_alice, larger = alice - original.fee, paid.vsize - original.vsize

    page.step("The transaction, in sat")
    notes_in = {"Alice": "", "Bob": "his coin: the payjoin"}
    notes_out = {"Alice": "her change", "Bob": f"his coin + {AMOUNT:,} - {bob:,}"}
    page.table(
        *(("in", piece.who, piece.address, piece.sat, notes_in[piece.who]) for piece in paid.inputs),
        *(("out", piece.who, piece.address, piece.sat, notes_out[piece.who]) for piece in paid.outputs),
    )
    page.line()
    page.table(
        ("fee", "both", paid.fee, f"{paid.fee / paid.vsize:.2f} sat/vB; Bob's coin makes it {larger:g} vB larger"),
        (
            "",
            "Alice",
            alice,
            f"{original.fee:,} as without payjoin, and {from_alice:,} of the {from_alice + bob:,} for Bob's coin",
        ),
        ("", "Bob", bob, "the rest for his coin" if bob else "nothing: Alice's wallet offered to pay for his coin"),
    )
    page.line()
    page.check({piece.who for piece in paid.inputs} == {"Alice", "Bob"}, "both put in a coin of theirs")
    page.check(alice + bob == paid.fee, "the two shares are the whole fee")
    page.check(
        AMOUNT not in {piece.sat for piece in paid.outputs},
        f"the {AMOUNT:,} sat that Alice paid stand nowhere in it",
    )
    return paid


def show_session(page: Page, stage: Stage, txid: str, request: dict[str, Any]) -> dict[str, Any]:
    session_id = request["payjoin"]["session_id"]
    page.step("What Bob's Electrum recorded")
    page.command(f"electrum payjoin_session {session_id}")
    session = stage.bob.until(session_id, status="completed")
    page.table(
        *(
            (time.strftime("%H:%M:%S", time.localtime(event["at"])), event["event"], shorten(event["detail"]))
            for event in session["events"]
        )
    )
    page.line()
    page.check(session["payjoin_txid"] == txid, f"status {session['status']}, and payjoin_txid is Alice's transaction")
    return session


def show_balances(page: Page, stage: Stage, before: dict[str, int], paid: Transaction, session: dict[str, Any]) -> None:
    after = balances(stage)
    alice, bob = -paid.gain("Alice") - AMOUNT, session["receiver_fee_sat"]
    page.step("Balances, in sat")
    page.table(
        ("", "before", "after", "change", ""),
        (
            "Alice",
            before["Alice"],
            after["Alice"],
            after["Alice"] - before["Alice"],
            f"-{AMOUNT:,} and a fee of {alice:,}",
        ),
        ("Bob", before["Bob"], after["Bob"], after["Bob"] - before["Bob"], f"+{AMOUNT:,} less a fee of {bob:,}"),
    )
    page.line()
    page.check(
        after["Bob"] == before["Bob"] + AMOUNT - bob,
        "Bob has exactly the amount more, less his own share of the fee",
    )
    page.check(
        after["Alice"] == before["Alice"] - AMOUNT - alice, "Alice has the amount less, and her share of the fee"
    )


def show_credit(page: Page, stage: Stage, request: dict[str, Any], paid: Transaction, session: dict[str, Any]) -> None:
    page.step("What a shop's program must read")
    page.command(f"electrum get_request {request['request_id']}")
    shown = stage.bob.get_request(request["request_id"])
    arrived = sum(piece.sat for piece in paid.outputs if piece.address == request["address"])
    received = shown["payjoin"]["received_sat"]
    page.table(
        ("status_str", shown["status_str"], "Electrum's own word: paid, and not in a block yet"),
        ("payjoin.received_sat", received, "what Alice's payment brought: credit this"),
        ("arrived at the address", arrived, "with Bob's own coin in it: never credit this"),
    )
    page.line()
    page.check(
        received == AMOUNT - session["receiver_fee_sat"], "received_sat is the amount less Bob's share of the fee"
    )
    page.check(arrived == received + session["contributed_sat"], "the address got that, and Bob's own coin back")


def pay_plainly_and_mine(page: Page, stage: Stage, coffee: dict[str, Any], before: dict[str, int]) -> None:
    page.step("Carol, whose wallet knows nothing of payjoin; and a block")
    page.command(f"electrum add_request {Decimal(TEA) / SATS} --memo tea")
    tea = stage.bob.payjoin_request(TEA, memo="tea")
    page.text("Such a URI again. Her wallet reads address and amount:")
    page.line(f"{INDENT}{tea['payjoin']['plain_uri']}")
    txid = stage.stand.node.fund(tea["address"], TEA)
    page.line(f"{INDENT}transaction {txid}")
    stage.stand.mine()
    page.text("A block was mined. In Electrum:")
    rows = []
    for request in (coffee, tea):
        found = stage.bob.until_request(request["request_id"], lambda now: now["status_str"] == "Paid", "is paid")
        session = stage.bob.until(request["payjoin"]["session_id"], confirmations=1)
        rows.append((found["message"], found["status_str"], session["status"], found["payjoin"]["received_sat"]))
    page.line()
    page.table(("request", "status_str", "payjoin.status", "received_sat"), *rows)
    page.line()
    page.check(
        balances(stage)["Bob"] - before["Bob"] == sum(row[3] for row in rows), "Bob has exactly what these two brought"
    )


def balances(stage: Stage) -> dict[str, int]:
    return {"Alice": stage.alice.balance_sat(), "Bob": stage.bob.balance_sat()}


def shorten(text: str) -> str:
    """Cut the middle out of transaction IDs."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{48}([0-9a-f]{8})\b", r"\1…\2", text)
