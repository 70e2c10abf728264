"""A sender and a receiver, joined in memory: originals that are refused, and what their senders are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from payjoin_plugin.bip78.psbt import Psbt, serialize
from payjoin_plugin.client.runner import End
from payjoin_plugin.errors import FAULT_CODES, ErrorCode, Fault
from payjoin_plugin.session.events import Failure
from payjoin_plugin.session.receiver import held_original
from payjoin_plugin.session.sender import fallback_psbt
from tests.bip78.payments import ALICE, HEIGHT, Money, Payment, payment
from tests.helpers import jumping
from tests.session.pair import Pair, Sender


def _dust(made: Payment) -> Payment:
    return replace(made, outputs=(*made.outputs, (ALICE.script, 100)))


def _spent_elsewhere(pair: Pair) -> None:
    other = replace(pair.made, outputs=((ALICE.script, 140_000),))
    spender = bytes.fromhex(other.transaction().serialize())
    pair.world.chain.change(pair.made, unspent=False, spender=spender)


def _unknown(pair: Pair) -> None:
    pair.world.chain.inputs.clear()


def _costly(pair: Pair) -> None:
    pair.receiver.wallet.limits = replace(pair.receiver.wallet.limits, max_sat=0)


REFUSALS: dict[str, tuple[Fault, Callable[[Pair], object]]] = {
    "no PSBT": (Fault.NOT_A_PAYMENT, lambda pair: pair.send(psbt=Psbt("no PSBT"))),
    "nothing for us": (Fault.PAYS_SOMETHING_ELSE, lambda pair: pair.send(_paying(ALICE.script))),
    "too little": (Fault.PAYS_TOO_LITTLE, lambda pair: pair.send(payment(amount=49_999))),
    "not signed": (Fault.NOT_SIGNED, lambda pair: pair.send(psbt=_unsigned(pair.made))),
    "signed by somebody else": (Fault.NOT_SIGNED, lambda pair: pair.send(psbt=_forged(pair.made))),
    "spent elsewhere": (Fault.COINS_GONE, _spent_elsewhere),
    "coins that nobody knows": (Fault.COINS_GONE, _unknown),
    "too small a fee": (Fault.FEE_TOO_SMALL, lambda pair: pair.send(payment(rate=100))),
    "a senseless fee rate": (Fault.FEE_TOO_SMALL, lambda pair: pair.send(query="v=2&minfeerate=no")),
    "dust": (Fault.NOT_STANDARD, lambda pair: pair.send(_dust(pair.made))),
    "locked": (Fault.NOT_STANDARD, lambda pair: pair.send(replace(pair.made, locktime=HEIGHT + 100, sequence=0))),
    "a coin of our own": (Fault.SEEN_BEFORE, lambda pair: pair.world.chain.change(pair.made, ours=True)),
    "a coin that was seen": (Fault.SEEN_BEFORE, lambda pair: pair.world.chain.change(pair.made, seen_before=True)),
    "too costly for us": (Fault.COSTS_TOO_MUCH, _costly),
    "an unknown version": (Fault.VERSION, lambda pair: pair.send(query="v=3")),
}


def _paying(script: bytes) -> Payment:
    made = payment()
    return replace(made, outputs=((script, 50_000), *made.outputs[1:]))


def _unsigned(made: Payment) -> Psbt:
    return serialize(made.unsigned())


def _forged(made: Payment) -> Psbt:
    thief = Money(replace(made.coins[0].owner, secrets=ALICE.secrets), made.coins[0].previous, 1, made.coins[0].value)
    tx = made.unsigned()
    thief.owner.sign(tx, 0)
    return serialize(tx)


def test_each_fault_is_among_the_refusals() -> None:
    assert {fault for fault, _ in REFUSALS.values()} == set(Fault)


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refused_sender_gets_one_error_and_the_session_fails(what: str) -> None:
    @jumping
    async def run() -> None:
        expected, arrange = REFUSALS[what]
        pair = Pair()
        arrange(pair)
        end, _ = await pair.run()
        assert end is End.CLOSED
        assert pair.outcome == Failure()
        assert pair.fault is expected
        assert pair.events[-2:] == ["RefusedOriginal", "Closed"]
        (answer,) = pair.sender.answers
        _check_error(answer, expected)
        assert len(pair.world.posted_to(pair.sender.reply_key.public_key)) == 1
        assert pair.sender.error == FAULT_CODES[expected].value
        assert fallback_psbt(pair.sender.session.state)
        assert pair.receiver.wallet.signatures == 0

    run()


def _check_error(answer: bytes, fault: Fault, *, supported: tuple[int, ...] = (1, 2)) -> None:
    reply = json.loads(answer)
    code = FAULT_CODES[fault]
    assert reply["errorCode"] == code.value
    assert reply["message"]
    assert reply.get("supported") == (list(supported) if code is ErrorCode.VERSION_UNSUPPORTED else None)
