"""One payment to a `pj` URI. It does a step when it is told to, so a test can stop, go on, or cheat at every one.

    V2Payment   post ─► poll … poll ─► proposal      through a relay, sealed (BIP 77)
    V1Payment   ask ─► proposal                      in the clear, and the receiver must be there (BIP 78)

What goes wrong is told by type:

    ErrorReplyReceived    the receiver said no; `.code`
    ProposalBroken        what came is no proposal, or one that may not be signed; `.rule`
    NoProposal            nothing came in time
    TransientError        relay or directory: Unreachable, DirectoryStatus, Garbled
    NotSigned, NodeError  the payer's wallet, the node
"""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from payjoin_plugin.bip78.parameters import AdditionalFee, Parameters, from_query, parse_error, to_query
from payjoin_plugin.bip78.psbt import Psbt, cut_psbt, fallback_of, parse, psbt_of, spent_output
from payjoin_plugin.bip78.sender_checks import check_proposal
from payjoin_plugin.errors import (
    DecodeError,
    DirectoryStatus,
    ProposalRefused,
    ProtocolError,
    TransientError,
    Unreachable,
)
from payjoin_plugin.session.events import CreatedSender, PostedOriginal, ProposalReceived, SenderEvent
from payjoin_plugin.session.sender import PollingForProposal, PostingOriginal, SenderState, apply
from payjoin_plugin.wire.keys import SecretKey
from payjoin_plugin.wire.mailbox import Call, open_message_b, read_poll, read_post, relay_url
from payjoin_plugin.wire.ohttp import MESSAGE_BYTES
from payjoin_plugin.wire.uri import PayjoinUri, PjEndpoint, encode_endpoint
from payjoin_plugin.wire.uri import parse as parse_uri
from tests.sender.payer import Coin, Kind, Original, Payer
from tests.stand.http import request

ADDED_WEIGHTS: dict[Kind, int] = {"p2pkh": 592, "p2sh-p2wpkh": 364, "p2wpkh": 272, "p2tr": 230}
"""Weight units of a receiver's coin that is of the payer's own kind. The payer offers to pay for that much, as the
reference does."""

PAUSE = 0.1
"""Seconds after an answer that came at once and was none. A directory otherwise holds a poll itself."""

SECONDS = 60.0
"""How long to wait for a proposal, unless told otherwise."""


class ProposalBroken(Exception):
    """What the receiver sent is no proposal, or one that may not be signed."""

    def __init__(self, rule: str) -> None:
        """`rule`: the rule that it violates, or what does not parse or open."""
        super().__init__(rule)
        self.rule = rule


class NoProposal(Exception):
    """No answer came in time."""


@dataclass(frozen=True)
class Terms:
    """How a payer pays, where it is not as usual."""

    fee_rate: float = 2.0
    """sat/vB of the original."""
    coins: Sequence[Coin] = ()
    """What is spent, all of it; by default what the node chooses."""
    amount_sat: int | None = None
    """Another amount than was asked for."""
    offer_sat: int | None = None
    """What the payer gives at most for the fee of the receiver's coin; by default what a coin like theirs costs."""
    min_fee_rate: int = 0
    """sat/kwu that the payjoin must have."""


AS_USUAL = Terms()


@dataclass
class Moments:
    """When things happened, in seconds of the monotonic clock."""

    posted: float = 0.0
    """The original began to leave."""
    proposal: float | None = None
    """The proposal was there, and checked."""
    broadcast: float | None = None
    """The node took a transaction of this payment."""

    @property
    def wait(self) -> float:
        """Seconds from the post to the checked proposal."""
        assert self.proposal is not None
        return self.proposal - self.posted

    @property
    def whole(self) -> float:
        """Seconds from the post to the broadcast."""
        assert self.broadcast is not None
        return self.broadcast - self.posted


class Payment:
    """The half that both versions share: what is signed, and what the payer does with it."""

    def __init__(self, payer: Payer, uri: PayjoinUri, original: Original, parameters: Parameters) -> None:
        self.payer, self.uri, self.original, self.parameters = payer, uri, original, parameters
        self.proposal: Psbt | None = None
        """Checked and ready to be signed, once it is there."""
        self.moments = Moments()

    @property
    def endpoint(self) -> PjEndpoint:
        """The receiver's mailbox."""
        assert isinstance(self.uri.endpoint, PjEndpoint)
        return self.uri.endpoint

    @property
    def original_transaction(self) -> bytes:
        """The payment without payjoin, as a network transaction."""
        return fallback_of(self.original.psbt)

    @property
    def outpoints(self) -> list[str]:
        """The payer's coins in it."""
        return [txin.prevout.to_str() for txin in parse(self.original.psbt).inputs()]

    def fetch(self, *, seconds: float = SECONDS) -> Psbt:
        """Do all that leads to a checked proposal, and return it. Raises as the module's docstring tells."""
        raise NotImplementedError

    def sign_payjoin(self) -> bytes:
        """Sign the proposal and return the payjoin transaction. Raises NotSigned."""
        assert self.proposal is not None
        return self.payer.sign(self.proposal)

    def broadcast_payjoin(self) -> str:
        """Sign and broadcast the proposal; return the txid. Raises NotSigned, NodeError."""
        return self._broadcast(self.sign_payjoin())

    def broadcast_original(self) -> str:
        """Pay without payjoin; return the txid. Raises NodeError."""
        return self._broadcast(self.original_transaction)

    def spend_otherwise(self, *, to: str | None = None, fee_sat: int = 20_000) -> str:
        """Spend the original's coins by another transaction with one output, and return its txid.

        By default to the payer, which is a double spend; `to` may be the receiver's address. With so high a fee it also
        replaces the original or the payjoin in the mempool. Raises NodeError.
        """
        spent = [spent_output(txin) for txin in parse(self.original.psbt).inputs()]
        value_sat = sum(txout.value for txout in spent if txout is not None) - fee_sat
        return self._broadcast(self.payer.spend(self.outpoints, to=to or self.payer.address(), value_sat=value_sat))

    def _broadcast(self, raw: bytes) -> str:
        txid = self.payer.broadcast(raw)
        self.moments.broadcast = time.monotonic()
        return txid

    def _check(self, proposal: Psbt) -> Psbt:
        """Check against the original. Raises ProposalRefused, DecodeError."""
        return check_proposal(
            proposal,
            self.original.psbt,
            parameters=from_query(to_query(self.parameters)),
            payee_script=self.payer.script_of(self.uri.address),
        )

    def _arrived(self, proposal: Psbt) -> Psbt:
        self.proposal, self.moments.proposal = proposal, time.monotonic()
        return proposal


class V2Payment(Payment):
    """By BIP 77, through a relay. Its session moves by events, as one that is kept on disk would."""

    def __init__(
        self, payer: Payer, uri: PayjoinUri, original: Original, parameters: Parameters, *, relay: str
    ) -> None:
        super().__init__(payer, uri, original, parameters)
        self.relay = relay
        self._reply_key = SecretKey.generate()
        created = CreatedSender(
            endpoint=encode_endpoint(self.endpoint),
            original=original.psbt,
            query=to_query(parameters),
            reply_key=self._reply_key,
            payee_script=payer.script_of(uri.address),
        )
        self.events: list[SenderEvent] = [created]
        self.state: SenderState = apply(None, created)

    def post(self) -> None:
        """Put the original into the receiver's mailbox. Raises TransientError: then it may be done again."""
        assert isinstance(self.state, PostingOriginal)
        self.moments.posted = time.monotonic()
        call = self.state.offer()
        read_post(call, self.carry(call))
        self._record(PostedOriginal())

    def poll(self, *, seconds: float = SECONDS) -> Psbt | None:
        """Look into the payer's own mailbox once, for at most `seconds`; the directory holds it up to 30 seconds.

        Raises ErrorReplyReceived, ProposalBroken, TransientError.
        """
        polling = self.state
        assert isinstance(polling, PollingForProposal)
        call = polling.poll()
        content = read_poll(call, self.carry(call, seconds=seconds))
        if content is None:
            return None
        closed = polling.received(content)
        self._record(closed)
        if not isinstance(closed.outcome, ProposalReceived):
            raise ProposalBroken(self._why_not(content))
        return self._arrived(closed.outcome.proposal)

    def wait(self, *, seconds: float = SECONDS) -> Psbt:
        """Poll until the proposal is there. Raises ErrorReplyReceived, ProposalBroken, NoProposal.

        A relay or directory that is away for a while does no harm.
        """
        deadline = time.monotonic() + seconds
        trouble: TransientError | None = None
        while (asked := time.monotonic()) < deadline:
            try:
                if (proposal := self.poll(seconds=deadline - asked)) is not None:
                    return proposal
            except TransientError as error:
                trouble = error
            if time.monotonic() - asked < PAUSE:
                time.sleep(PAUSE)
        raise NoProposal(f"not within {seconds:g} s; last trouble: {trouble}") from trouble

    def fetch(self, *, seconds: float = SECONDS) -> Psbt:
        self.post()
        return self.wait(seconds=seconds)

    def carry(self, call: Call, *, seconds: float = SECONDS) -> bytes:
        """Have the relay carry a call, and return the answer. Raises Unreachable, DirectoryStatus."""
        url = relay_url(self.relay, self.endpoint.directory)
        status, body = _post(url, call.body, content_type="message/ohttp-req", seconds=seconds)
        if len(body) != MESSAGE_BYTES:
            raise DirectoryStatus(status, inner=False)
        return body

    def _record(self, event: SenderEvent) -> None:
        self.state = apply(self.state, event)
        self.events.append(event)

    def _why_not(self, content: bytes) -> str:
        """Say what is wrong with an answer. The session itself ends without a reason, since no payer would read it."""
        try:
            padded = open_message_b(content, reply_key=self._reply_key, receiver_key=self.endpoint.receiver_key)
            self._check(psbt_of(cut_psbt(padded)))
        except ProtocolError as error:
            return str(error)
        raise AssertionError("the session refused what the checks accept")


class V1Payment(Payment):
    """By BIP 78, to a mailbox of BIP 77 (*Backwards compatibility*). The directory sees everything."""

    @property
    def url(self) -> str:
        """Where the original goes."""
        return f"{self.endpoint.directory}/{self.endpoint.mailbox}?{to_query(self.parameters)}"

    def ask(self, *, seconds: float = SECONDS) -> Psbt:
        """Post the original and wait for the answer to the same request.

        Raises ErrorReplyReceived, ProposalBroken, TransientError.
        """
        self.moments.posted = time.monotonic()
        body = self.original.psbt.encode()
        status, answer = _post(self.url, body, content_type="text/plain", seconds=seconds)
        if (reply := parse_error(answer)) is not None:
            raise reply
        if status != 200:
            raise DirectoryStatus(status, inner=False)
        try:
            return self._arrived(self._check(Psbt(answer.decode().strip())))
        except (DecodeError, ProposalRefused, UnicodeDecodeError) as error:
            raise ProposalBroken(str(error)) from error

    def fetch(self, *, seconds: float = SECONDS) -> Psbt:
        return self.ask(seconds=seconds)


def prepare(payer: Payer, uri: str, *, relay: str, terms: Terms = AS_USUAL) -> V2Payment:
    """Make and sign the original for a `pj` URI; nothing leaves yet. Raises DecodeError, NodeError, NotSigned."""
    asked = parse_uri(uri)
    original = _original(payer, asked, terms)
    return V2Payment(payer, asked, original, _parameters(asked, original, terms, version=2), relay=relay)


def prepare_v1(payer: Payer, uri: str, *, terms: Terms = AS_USUAL) -> V1Payment:
    """The same for a payer who speaks BIP 78 only."""
    asked = parse_uri(uri)
    original = _original(payer, asked, terms)
    return V1Payment(payer, asked, original, _parameters(asked, original, terms, version=1))


def pay(payer: Payer, uri: str, *, relay: str, terms: Terms = AS_USUAL) -> str:
    """Pay by payjoin and return the txid. Raises as the module's docstring tells."""
    payment = prepare(payer, uri, relay=relay, terms=terms)
    payment.fetch()
    return payment.broadcast_payjoin()


def _original(payer: Payer, uri: PayjoinUri, terms: Terms) -> Original:
    amount_sat = terms.amount_sat if terms.amount_sat is not None else uri.amount_sat
    if amount_sat is None:
        raise ValueError("a payment needs an amount")
    return payer.original(uri.address, amount_sat, fee_rate=terms.fee_rate, coins=terms.coins)


def _parameters(uri: PayjoinUri, original: Original, terms: Terms, *, version: int) -> Parameters:
    """As BIP 78 has it; `pjos=0` is kept too, though the reference's sender does not look at it."""
    offer = None
    if original.change_vout is not None:
        rate = original.fee_sat * 1000 // original.weight
        usual = math.ceil(rate * ADDED_WEIGHTS[original.kind] / 1000)
        offer = AdditionalFee(usual if terms.offer_sat is None else terms.offer_sat, original.change_vout)
    return Parameters(
        version=version,
        output_substitution=uri.output_substitution,
        additional_fee=offer,
        min_fee_rate=terms.min_fee_rate,
    )


def _post(url: str, body: bytes, *, content_type: str, seconds: float) -> tuple[int, bytes]:
    """Return status and body. Raises Unreachable."""
    try:
        return request("POST", url, body, {"Content-Type": content_type}, seconds=seconds)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"no answer: {error!r}") from error
