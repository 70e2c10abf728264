"""Nobody pays more than agreed: from a random payment to the payjoin that its sender signs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pytest
from electrum.transaction import Transaction, TxOutput
from hypothesis import event, given
from hypothesis import strategies as st

from payjoin_plugin.bip78.contribution import Contribution, FeeLimits, choose_coin, contribute, finish_proposal
from payjoin_plugin.bip78.original import Original, check_original, check_payment, read_original
from payjoin_plugin.bip78.parameters import AdditionalFee, Parameters, from_query, to_query
from payjoin_plugin.bip78.psbt import Psbt, cut_psbt, parse, psbt_bytes
from payjoin_plugin.bip78.sender_checks import check_proposal
from payjoin_plugin.bip78.signatures import verify_inputs
from payjoin_plugin.bip78.standard import dust_limit
from payjoin_plugin.errors import Fault, OriginalRefused
from tests.bip78.payments import BOB, KINDS, OUR_KINDS, Account, Money, Payment, bobs_coin, sign_ours, sign_senders

values = st.one_of(st.integers(600, 3_000), st.integers(600, 10**6), st.integers(600, 10**12))
rates = st.one_of(st.integers(250, 600), st.integers(250, 20_000))


@dataclass(frozen=True)
class Deal:
    """A payment, what its sender offers, what we have, and what we are willing to pay."""

    made: Payment
    vout: int
    asked: Parameters
    coin: Money
    limits: FeeLimits
    position: int

    @cached_property
    def original(self) -> Original:
        return read_original(self.made.original())

    def contribution(self) -> Contribution:
        return contribute(
            self.original,
            from_query(to_query(self.asked)),
            self.coin.coin(),
            payment_vout=self.vout,
            limits=self.limits,
            position=self.position,
        )


@st.composite
def payments(draw: st.DrawFn) -> tuple[Payment, int]:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    changes = draw(st.sampled_from([0, 1, 1, 2, 3]))
    change = draw(st.lists(st.tuples(st.sampled_from(KINDS), values), min_size=changes, max_size=changes))
    outputs = [(Account.of(f"change {n}", kind).script, value) for n, (kind, value) in enumerate(change)]
    vout = draw(st.integers(0, len(outputs)))
    outputs.insert(vout, (BOB.script, draw(values)))
    share = sum(value for _, value in outputs) // len(kinds)
    coins = tuple(Money.of(Account.of(f"Alice {n}", kind), share) for n, kind in enumerate(kinds))
    made = Payment(
        coins,
        tuple(outputs),
        sequence=draw(st.sampled_from([0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF, 0])),
        version=draw(st.sampled_from([1, 2])),
        locktime=draw(st.sampled_from([0, 899_999])),
    )
    return made.with_rate(draw(rates)), vout


@st.composite
def deals(draw: st.DrawFn) -> Deal:
    made, vout = draw(payments())
    changes = [index for index in range(len(made.outputs)) if index != vout] or [vout]
    offers = st.builds(
        AdditionalFee, max_sat=st.integers(0, 300) | st.integers(0, 6_000), output_index=st.sampled_from(changes)
    )
    odd_offers = st.builds(AdditionalFee, max_sat=values, output_index=st.integers(0, len(made.outputs)))
    asked = Parameters(
        version=2,
        output_substitution=draw(st.booleans()),
        additional_fee=draw(st.one_of(offers, offers, offers, odd_offers, st.none())),
        min_fee_rate=draw(st.one_of(st.just(0), st.just(0), st.just(250), rates)),
    )
    limits = FeeLimits(
        max_rate=draw(st.just(10**6) | st.integers(0, 30_000)),
        max_sat=draw(st.just(10**6) | st.integers(0, 30_000)),
        min_rate=draw(st.integers(25, 300)),
    )
    coin = bobs_coin(draw(values | st.integers(10**5, 10**10)), kind=draw(st.sampled_from(OUR_KINDS)))
    return Deal(made, vout, asked, coin, limits, draw(st.integers(0, len(made.coins))))


def finished(deal: Deal, contribution: Contribution) -> Psbt:
    signed = sign_ours(contribution.proposal, deal.coin)
    return finish_proposal(contribution.proposal, signed, contribution.outpoints)


def attempt(deal: Deal) -> Contribution | None:
    """The contribution; None where the limits forbid it."""
    try:
        contribution = deal.contribution()
    except OriginalRefused as refusal:
        event(refusal.fault.value)
        return None
    event("contributed")
    return contribution


def ceil(rate: int, weight: int) -> int:
    return -(-rate * weight // 1000)


@given(deals())
def test_nobody_pays_more_than_agreed(deal: Deal) -> None:
    if (contribution := attempt(deal)) is None:
        return
    before = dict(enumerate(value for _, value in deal.made.outputs))
    after = {vout: txout.value for vout, txout in enumerate(parse(contribution.proposal).outputs())}
    lost = {vout: before[vout] - after[vout] for vout in before if before[vout] != after[vout]}
    growth = -lost.pop(deal.vout)

    assert growth == deal.coin.value - contribution.receiver_fee_sat > 0
    assert 0 <= contribution.receiver_fee_sat <= deal.limits.max_sat
    assert contribution.receiver_fee_sat <= ceil(
        deal.limits.max_rate, deal.coin.coin().weight + 2 + len(deal.made.coins)
    )

    offer = deal.asked.additional_fee
    assert sum(lost.values()) == contribution.sender_fee_sat
    if contribution.sender_fee_sat:
        assert offer is not None
        assert lost == {offer.output_index: contribution.sender_fee_sat}
        assert contribution.sender_fee_sat <= offer.max_sat
        assert after[offer.output_index] >= dust_limit(deal.made.outputs[offer.output_index][0])


@given(deals())
def test_the_fee_grows_by_the_two_shares_and_never_shrinks(deal: Deal) -> None:
    if (contribution := attempt(deal)) is None:
        return
    fee = parse(contribution.proposal).get_fee()
    assert fee == deal.made.fee + contribution.sender_fee_sat + contribution.receiver_fee_sat >= deal.made.fee


@given(deals())
def test_order_sequences_version_and_locktime_are_kept(deal: Deal) -> None:
    if (contribution := attempt(deal)) is None:
        return
    before, after = deal.made.unsigned(), parse(contribution.proposal)
    outpoints = [txin.prevout.to_str() for txin in after.inputs()]
    assert outpoints.pop(deal.position) == deal.coin.outpoint
    assert outpoints == [coin.outpoint for coin in deal.made.coins]
    assert {txin.nsequence for txin in after.inputs()} == {deal.made.sequence}
    assert (after.version, after.locktime) == (before.version, before.locktime)
    assert [txout.scriptpubkey for txout in after.outputs()] == [script for script, _ in deal.made.outputs]


@given(deals())
def test_what_we_propose_passes_our_own_senders_checks_and_becomes_a_payjoin(deal: Deal) -> None:
    if (contribution := attempt(deal)) is None:
        return
    proposal = finished(deal, contribution)
    restored = check_proposal(proposal, deal.original.psbt, parameters=deal.asked, payee_script=BOB.script)
    payjoin = sign_senders(restored, deal.made.coins)
    coins = {coin.outpoint: coin for coin in (*deal.made.coins, deal.coin)}
    spent = [coins[txin.prevout.to_str()] for txin in payjoin.inputs()]
    assert verify_inputs(
        payjoin,
        [TxOutput(scriptpubkey=coin.owner.script, value=coin.value) for coin in spent],
        range(len(spent)),
    )
    fee = sum(coin.value for coin in spent) - payjoin.output_value()
    assert_rate(fee, payjoin, deal)


def assert_rate(fee: int, payjoin: Transaction, deal: Deal) -> None:
    """The payjoin pays the original's rate, the sender's minimum and the relay fee.

    Each new signature of a sender's may be longer by a byte than the one it replaces.
    """
    least = max(deal.original.fee_sat * 1000 // deal.original.weight, deal.asked.min_fee_rate, deal.limits.min_rate)
    longer = 4 * 2 * len(deal.made.coins)
    assert fee * 1000 >= least * (payjoin.estimated_weight() - longer)


@given(deals())
def test_an_answer_survives_the_padding_of_its_message(deal: Deal) -> None:
    if (contribution := attempt(deal)) is None:
        return
    raw = psbt_bytes(finished(deal, contribution))
    assert cut_psbt(raw + bytes(7088 - len(raw))) == raw


@given(deals())
def test_a_refusal_has_its_reason_in_the_limits(deal: Deal) -> None:
    if attempt(deal) is not None:
        return
    original = deal.original
    rate = max(original.fee_sat * 1000 // original.weight, deal.asked.min_fee_rate, deal.limits.min_rate)
    heaviest = original.weight + deal.coin.coin().weight + 2 + len(deal.made.coins)
    most = max(ceil(rate, heaviest - original.weight), ceil(rate, heaviest) - original.fee_sat)
    least_limit = min(deal.limits.max_sat, deal.coin.value - 1, ceil(deal.limits.max_rate, deal.coin.coin().weight))
    assert most > least_limit


@given(deals())
def test_what_pays_is_accepted_and_what_we_ask_beyond_it_is_not(deal: Deal) -> None:
    paid = deal.made.outputs[deal.vout][1]
    original = deal.original
    facts = replace(deal.made.facts(), relay_fee_rate=240)  # nodes round the size up, `rates` begin at 250
    assert check_payment(original, script_pubkey=BOB.script, amount_sat=paid) == (deal.vout,)
    check_original(original, facts)
    with pytest.raises(OriginalRefused, match=Fault.PAYS_TOO_LITTLE.value):
        check_payment(original, script_pubkey=BOB.script, amount_sat=paid + 1)


@given(deals(), st.lists(values, min_size=1, max_size=5, unique=True))
def test_a_coin_is_chosen_if_there_is_one_and_among_ours(deal: Deal, ours: list[int]) -> None:
    money = [bobs_coin(value, kind=deal.coin.owner.kind) for value in ours]
    asked = from_query(to_query(deal.asked))
    chosen = choose_coin(
        deal.original,
        asked,
        [coin.coin() for coin in money],
        payment_vout=deal.vout,
        limits=deal.limits,
        exposed=frozenset(),
    )
    money = [coin for coin in money if attempt(replace(deal, coin=coin)) is not None] or money
    coins = [coin.coin() for coin in money]
    assert chosen in coins
    if all(needs_every_input(deal, coin.value_sat) is False for coin in coins):
        assert chosen == coins[0]
    else:
        assert chosen == next(coin for coin in coins if needs_every_input(deal, coin.value_sat))


def needs_every_input(deal: Deal, value: int) -> bool:
    after = [paid + (value if vout == deal.vout else 0) for vout, (_, paid) in enumerate(deal.made.outputs)]
    return len(after) == 1 or min(value, *(coin.value for coin in deal.made.coins)) > min(after)
