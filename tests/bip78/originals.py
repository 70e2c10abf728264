"""The receiver's check with everything that it needs, and what it refuses for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from payjoin_plugin.bip78.original import ChainFacts, check_original, check_payment, check_terms, read_original
from payjoin_plugin.bip78.parameters import Parameters
from payjoin_plugin.bip78.psbt import Psbt
from payjoin_plugin.errors import Fault, OriginalRefused
from tests.bip78.payments import BOB, Payment

AMOUNT = 50_000
"""What Bob asked for; `payment` pays it."""


def check(
    made: Payment,
    facts: ChainFacts | None = None,
    *,
    amount: int = AMOUNT,
    parameters: Parameters | None = None,
    psbt: Psbt | None = None,
) -> tuple[int, ...]:
    original = read_original(psbt or made.original())
    vouts = check_payment(original, script_pubkey=BOB.script, amount_sat=amount)
    check_original(original, facts or made.facts())
    check_terms(original, parameters or Parameters())
    return vouts


def fault_of(act: Callable[[], object]) -> Fault:
    with pytest.raises(OriginalRefused) as refusal:
        act()
    return refusal.value.fault
