"""What a session needs of the world, declared by the core and implemented by the shell (and by the tests)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..bip78.contribution import Coin, FeeLimits
from ..bip78.original import ChainFacts, Original
from ..bip78.psbt import Psbt


class EventStore(Protocol):
    """Where the logs lie."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Guards a move: hold it for a look at the state and the append that follows. Re-entrant."""

    def append(self, session_id: str, record: Mapping[str, Any]) -> None:
        """Append one JSON-able record, in memory. May be called from any thread."""

    async def quiet(self) -> None:
        """Return when an append does not have to wait for a save."""

    async def flush(self) -> None:
        """The barrier: return when all that was appended before the call is on disk.

        Raises OSError where the disk refuses; then nothing may be revealed.
        """


class ReceiverWallet(Protocol):
    """What the receiver asks of the wallet and, through it, of the Electrum server."""

    def script_of(self, address: str) -> bytes:
        """Return the scriptPubKey of `address`."""

    def is_current(self) -> bool:
        """Tell whether `ready` would not wait."""

    async def ready(self) -> None:
        """Return when the wallet is up to date with its server: before, nothing is checked or answered."""

    async def look_up(self, original: Original) -> ChainFacts:
        """Ask the Electrum server, in one batch, and the wallet about the inputs. Raises Unreachable."""

    def seen_before(self, original: Original, session_id: str) -> bool:
        """Tell whether another session has shown a coin to an original with one of these inputs."""

    def coins(self) -> Sequence[Coin]:
        """Return the coins that may be contributed now, in the order of preference. May be empty."""

    def exposed(self) -> frozenset[str]:
        """Return the outpoints that proposals have shown already."""

    def fee_limits(self, payment_sat: int) -> FeeLimits:
        """Return the caps as they are set now, in sat/kwu and sat."""

    def locked(self) -> bool:
        """Tell whether signing needs a password that nobody has given."""

    async def sign(self, proposal: Psbt, outpoints: Sequence[str], *, password: str | None) -> Psbt:
        """Sign our inputs and return what the sender may see. `password`: for this one signature, where locked.

        Raises WalletError.
        """


class Policy(Protocol):
    """The user's settings that a running session obeys, read at the moment of use."""

    @property
    def accept_v1_senders(self) -> bool:
        """Whether senders of the old protocol are answered."""

    @property
    def ask_before_contributing(self) -> bool:
        """Whether each answer needs the user's word."""
