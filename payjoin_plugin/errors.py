"""Every exception of this project, sorted by what the one who catches it does.

    PayjoinError
    ├─ ProtocolError                the counterparty broke the protocol: only bytes out of an inner 200 can
    │   ├─ DecodeError              bytes or text don't parse
    │   ├─ OpenError                HPKE or AEAD did not open (deliberately no detail)
    │   ├─ OriginalRefused          receiver's checklist; carries the BIP 78 error code: becomes an event and a reply
    │   └─ ProposalRefused          sender's checklist; names the violated rule
    ├─ ErrorReplyReceived           the receiver said no, in BIP 78's words
    ├─ TransientError               try again later; nothing is recorded
    │   ├─ Unreachable              network, relay, time limit
    │   │   ├─ NotSent              no connection came about: not one byte of the request has left
    │   │   └─ Dropped              a kept connection was over before the answer began: nobody's failure
    │   ├─ DirectoryStatus          an unexpected status, inner or outer
    │   ├─ Garbled                  a relay's or directory's answer that is none
    │   └─ NotYetKnown              the Electrum server has not said enough of an original yet
    ├─ SessionExpired               carries nothing; the fallback is asked of the state
    ├─ SenderGone                   a v1 sender's time is over before ours
    ├─ WalletError                  shown to the user as it is: locked, or it cannot sign
    ├─ UserError                    a wrong argument, setting or moment: a sentence for the one who asked
    └─ LogError
        ├─ UnreadableLog            a log that this version cannot read; left untouched
        └─ IllegalEvent             an event that does not follow; nothing was recorded

Anything else is a bug: logged with its traceback, the session untouched, tried again at the next start.
"""

from __future__ import annotations

from enum import Enum


class PayjoinError(Exception):
    """The root of everything that this project raises on purpose."""


class ProtocolError(PayjoinError):
    """The counterparty broke the protocol."""


class DecodeError(ProtocolError):
    """Bytes or text do not parse."""


class OpenError(ProtocolError):
    """A ciphertext did not open. Carries no detail on purpose."""

    def __init__(self) -> None:
        super().__init__("the message did not open")


class ErrorCode(Enum):
    """BIP 78, *Receiver's well known errors*. The values are the words on the wire."""

    UNAVAILABLE = "unavailable"
    NOT_ENOUGH_MONEY = "not-enough-money"
    VERSION_UNSUPPORTED = "version-unsupported"
    ORIGINAL_PSBT_REJECTED = "original-psbt-rejected"


class Fault(Enum):
    """Why an original was refused: our own words, for logs and screens, never for the sender."""

    NOT_A_PAYMENT = "not_a_payment"
    """What came does not open or is no PSBT at all."""
    PAYS_SOMETHING_ELSE = "pays_something_else"
    PAYS_TOO_LITTLE = "pays_too_little"
    NOT_SIGNED = "not_signed"
    """An input is not final, or its signature is wrong, unusual or not verifiable here."""
    COINS_GONE = "coins_gone"
    """An input is spent, or nobody knows its previous transaction."""
    FEE_TOO_SMALL = "fee_too_small"
    NOT_STANDARD = "not_standard"
    """Dust, an absurd amount, a locktime in the future: no node would relay it."""
    SEEN_BEFORE = "seen_before"
    """An input is the wallet's own or was in another original that got a proposal."""
    COSTS_TOO_MUCH = "costs_too_much"
    """Our share of the fee would exceed the user's limit."""
    VERSION = "version"


FAULT_CODES = {
    Fault.NOT_A_PAYMENT: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.PAYS_SOMETHING_ELSE: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.PAYS_TOO_LITTLE: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.NOT_SIGNED: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.COINS_GONE: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.FEE_TOO_SMALL: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.NOT_STANDARD: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.SEEN_BEFORE: ErrorCode.ORIGINAL_PSBT_REJECTED,
    Fault.COSTS_TOO_MUCH: ErrorCode.NOT_ENOUGH_MONEY,
    Fault.VERSION: ErrorCode.VERSION_UNSUPPORTED,
}
"""What the sender is told for each fault: only the sender's faults, and fixed limits, are answered."""


class OriginalRefused(ProtocolError):
    """The original fails the receiver's checklist (BIP 78, *Receiver's original PSBT checklist*)."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        """`detail` is for tests and developers; it is neither sent nor shown."""
        super().__init__(f"{fault.value}: {detail}" if detail else fault.value)
        self.fault = fault


class ProposalRefused(ProtocolError):
    """The proposal fails the sender's checklist (BIP 78, *Sender's payjoin proposal checklist*)."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class ErrorReplyReceived(PayjoinError):
    """The receiver answered with an error."""

    def __init__(self, code: str) -> None:
        """`code` as received; an unknown one is kept, the peer's message is not (BIP 78: never show it)."""
        super().__init__(code)
        self.code = code


class TransientError(PayjoinError):
    """Something that may be right a moment later. Nothing is recorded for it."""


class Unreachable(TransientError):
    """A relay, a directory or the proxy could not be reached in time."""


class NotSent(Unreachable):
    """No connection came about: not one byte of the request has left this machine."""


class Dropped(Unreachable):
    """A connection that was kept from an earlier request was closed before the answer began. Nobody failed.

    Whoever keeps connections closes them at some time, and may do so just as we ask.
    """


class DirectoryStatus(TransientError):
    """An unexpected HTTP status, inner or outer."""

    def __init__(self, status: int, *, inner: bool, retry_after: float | None = None) -> None:
        """`retry_after` in seconds, from the header of that name."""
        super().__init__(f"{'inner' if inner else 'outer'} status {status}")
        self.status = status
        self.inner = inner
        self.retry_after = retry_after


class KeysRejected(DirectoryStatus):
    """The directory's gateway does not know the OHTTP key that we used (problem type `#ohttp-key`): fetch anew."""

    def __init__(self) -> None:
        super().__init__(400, inner=False)


class Garbled(TransientError):
    """An answer of a wrong length, that OHTTP does not open, or that is no BHTTP."""


class NotYetKnown(TransientError):
    """The Electrum server has not said enough about an original yet; ask again."""


class SessionExpired(PayjoinError):
    """The session's time is over."""


class SenderGone(PayjoinError):
    """The directory has dropped the v1 sender's request: no answer can reach them any more."""


class WalletError(PayjoinError):
    """The wallet cannot do it now. The text is for the user."""


class UserError(PayjoinError):
    """A wrong argument, setting or moment. The text is for the one who asked."""


class LogError(PayjoinError):
    """Something is wrong with an event log."""


class UnreadableLog(LogError):
    """A log that this version cannot read. It is shown as such and left untouched."""

    def __init__(self, reason: str, *, newer: bool = False) -> None:
        super().__init__(reason)
        self.newer = newer


class IllegalEvent(LogError):
    """An event that does not follow from the state."""
