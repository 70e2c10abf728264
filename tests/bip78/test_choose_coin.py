from __future__ import annotations

from dataclasses import replace

import pytest

from payjoin_plugin.bip78.contribution import (
    FeeLimits,
    choose_coin,
)
from payjoin_plugin.bip78.parameters import from_query
from tests.bip78.payments import (
    ALICE,
    OUR_KINDS,
    Money,
    Payment,
    bobs_coin,
    payment,
)
from tests.bip78.proposals import PLENTY, read


def choose(
    made: Payment,
    coins: list[Money],
    *,
    exposed: tuple[Money, ...] = (),
    vout: int = 0,
    limits: FeeLimits = PLENTY,
    query: str = "",
) -> str | None:
    """Choose among `coins` and return the chosen outpoint."""
    chosen = choose_coin(
        read(made),
        from_query(query),
        [coin.coin() for coin in coins],
        payment_vout=vout,
        limits=limits,
        exposed=frozenset(coin.outpoint for coin in exposed),
    )
    return chosen.outpoint if chosen else None


def test_no_coin_no_choice() -> None:
    assert choose(payment(), []) is None


def test_one_of_the_senders_own_inputs_is_no_choice() -> None:
    made = payment()
    assert choose(made, [made.coins[0]]) is None


def test_the_first_coin_that_leaves_no_input_unnecessary_is_taken() -> None:
    # Alice pays 50 000 out of about 150 000 and keeps 100 000. After a coin of 80 000 the smallest output is the change
    # of 100 000, and the input of 80 000 would not have been needed. After 120 000 it is.
    small, large, larger = bobs_coin(80_000), bobs_coin(120_000), bobs_coin(130_000)
    assert choose(payment(), [small, large, larger]) == large.outpoint


def test_the_payments_old_value_does_not_count() -> None:
    """The reference's known fault: payment 1, change 4 000 000, a coin of 3 000 000 passes there."""
    made = payment(amount=1_000, change=4_000_000)
    bad, good = bobs_coin(3_000_000), bobs_coin(4_500_000)
    assert choose(made, [bad, good]) == good.outpoint


def test_three_outputs_are_looked_at_as_well() -> None:
    made = payment()
    made = replace(made, outputs=(*made.outputs, (ALICE.script, 100_000))).with_rate(1000)
    small, large = bobs_coin(80_000), bobs_coin(120_000)
    assert choose(made, [small, large]) == large.outpoint


def test_data_is_no_output_to_compare_with() -> None:
    made = payment()
    made = replace(made, outputs=(*made.outputs, (b"\x6a\x01x", 0)))
    small, large = bobs_coin(80_000), bobs_coin(120_000)
    assert choose(made, [small, large]) == large.outpoint


def test_a_sweep_has_nothing_to_avoid() -> None:
    made = payment()
    made = replace(made, outputs=made.outputs[:1])
    small, large = bobs_coin(1_000), bobs_coin(120_000)
    assert choose(made, [small, large]) == small.outpoint


def test_the_first_is_taken_if_none_fits() -> None:
    first, second = bobs_coin(80_000), bobs_coin(70_000)
    assert choose(payment(), [first, second]) == first.outpoint


@pytest.mark.parametrize("kind", OUR_KINDS)
def test_a_coin_of_the_senders_type_is_preferred(kind: str) -> None:
    coins = [bobs_coin(120_000, kind=other) for other in OUR_KINDS]
    assert choose(payment(kind), coins) == bobs_coin(120_000, kind=kind).outpoint


def test_another_type_is_better_than_none() -> None:
    coin = bobs_coin(kind="p2pkh")
    assert choose(payment("p2tr"), [coin]) == coin.outpoint


def test_a_coin_that_was_exposed_is_offered_again_whatever_shape_it_makes() -> None:
    fitting, exposed = bobs_coin(120_000), bobs_coin(80_000)
    assert choose(payment(), [fitting, exposed]) == fitting.outpoint
    assert choose(payment(), [fitting, exposed], exposed=(exposed,)) == exposed.outpoint


def test_among_exposed_coins_the_fitting_one_is_taken() -> None:
    small, large = bobs_coin(80_000), bobs_coin(120_000)
    assert choose(payment(), [small, large], exposed=(small, large)) == large.outpoint


# What a coin costs


def test_a_few_satoshis_that_somebody_sent_us_do_not_come_before_a_coin_that_pays_for_itself() -> None:
    few, fitting, unfit = bobs_coin(150), bobs_coin(120_000), bobs_coin(80_000)
    assert choose(payment(rate=2000), [few, fitting]) == fitting.outpoint
    assert choose(payment(rate=2000), [few, unfit]) == unfit.outpoint
    assert choose(payment(rate=2000), [few, fitting], exposed=(few,)) == fitting.outpoint


def test_in_a_sweep_neither() -> None:
    made = payment(rate=2000)
    made = replace(made, outputs=made.outputs[:1]).with_rate(2000)
    few, fitting = bobs_coin(150), bobs_coin(120_000)
    assert choose(made, [few, fitting]) == fitting.outpoint


def test_a_small_coin_is_good_where_the_sender_pays_for_it() -> None:
    few = bobs_coin(300)
    assert choose(payment(rate=2000), [few, bobs_coin(80_000)]) == bobs_coin(80_000).outpoint
    offer = "maxadditionalfeecontribution=10000&additionalfeeoutputindex=1"
    assert choose(payment(rate=2000), [few, bobs_coin(80_000)], query=offer) == few.outpoint


def test_a_heavy_coin_beyond_the_limit_does_not_keep_a_light_one_back() -> None:
    heavy, light = bobs_coin(120_000, kind="p2pkh"), bobs_coin(120_000, kind="p2wpkh")
    made = payment("p2pkh", rate=1000)
    assert choose(made, [heavy, light]) == heavy.outpoint  # of the sender's type
    assert choose(made, [heavy, light], limits=replace(PLENTY, max_sat=400)) == light.outpoint


def test_where_every_coin_costs_too_much_one_is_named_all_the_same() -> None:
    """What follows is the refusal, and not a wait for a coin that is there."""
    few = bobs_coin(150)
    assert choose(payment(rate=2000), [few]) == few.outpoint
