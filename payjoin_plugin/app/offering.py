"""When a request's URI offers payjoin, and the sentence that says why it does not."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from electrum.i18n import _

from ..session.events import Created
from ..wallet.receiving import why_not, why_unfit
from ..wallet.watching import request_paid, requests_at
from ..wire.keys import SecretKey
from .settings import DAY
from .trouble import trouble_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from electrum.invoices import Request
    from electrum.wallet import Abstract_Wallet

    from ..wallet.storage import WalletStore
    from .services import Services

_by_window: ContextVar[bool | None] = ContextVar("payjoin_request_by_window", default=None)
"""What the receive tab's toggle said; None outside the receive tab."""


@contextmanager
def request_made_in_window(*, wanted: bool) -> Iterator[None]:
    """Mark what is done inside as the work of the receive tab, whose toggle says whether payjoin is `wanted`."""
    token = _by_window.set(wanted)
    try:
        yield
    finally:
        _by_window.reset(token)


class Offering:
    """The rules of one wallet's offers. Its methods may be called from any thread."""

    def __init__(self, wallet: Abstract_Wallet, store: WalletStore, services: Services) -> None:
        self._wallet, self._store, self._services = wallet, store, services

    def wanted(self) -> bool:
        """Tell whether the request that is being made now shall offer payjoin."""
        by_window = _by_window.get()
        return self._services.settings.offer_in_commands if by_window is None else by_window

    def new_session(self, request: Request, now: int) -> tuple[str, Created]:
        """Return the ID and the first event of a session for a `request` that nothing speaks against."""
        current = self._services.keeper.current()
        assert current is not None
        directory, keys = current
        return secrets.token_hex(8), Created(
            request_id=request.get_id(),
            address=request.get_address(),
            amount_sat=request.get_amount_sat(),
            receiver_key=SecretKey.generate(),
            directory=directory,
            ohttp_keys=keys,
            expires_at=self.expires_at(request, now),
        )

    def expires_at(self, request: Request, now: int) -> int:
        """Return when a session made now would end (unix seconds): with its request, after the set life at most."""
        lifetime = now + min(self._services.settings.session_lifetime, 7 * DAY)
        return min(lifetime, request.time + request.exp) if request.exp else lifetime

    def why_never(self, request: Request) -> str | None:
        """Return why this request can never offer payjoin, or None."""
        if self._store.unreadable is not None:
            return str(self._store.unreadable)
        if self._store.is_declined(request.get_id()):
            return _("Without payjoin, as you chose.")
        amount_sat = request.get_amount_sat()
        if not amount_sat:
            return _("No amount was asked for.")
        minimum = self._services.settings.minimum_amount
        if amount_sat < minimum:
            return _("The amount is below your minimum of {}.").format(
                self._wallet.config.format_amount_and_units(minimum)
            )
        if requests_at(self._wallet, request.get_address()) - {request.get_id()}:
            # Electrum counts what arrives at an address for each request there, and our own coin would pay another one.
            return _("Another request has the same address.")
        if why_unfit(self._wallet) is None and self._is_last_address(request.get_address()):
            return _("This wallet has no other address for its next request.")
        if self._was_used(request):
            return _("The address was used before.")
        return None

    def _was_used(self, request: Request) -> bool:
        """Tell whether anything came to its address before: that and a sender's payment cannot always be told apart."""
        is_new = self._wallet.get_request(request.get_id()) is None
        is_used: bool = self._wallet.adb.is_used(request.get_address())
        return is_used and (is_new or not request_paid(self._wallet, request))

    def _is_last_address(self, address: str) -> bool:
        """Tell whether a request after this one would have its address, or that of another: our coin would pay it."""
        if self._wallet.is_deterministic():
            return False
        held = {one.address for one in self._store.kept.all()} | {address}
        others = (other for other in self._wallet.get_receiving_addresses() if other not in held)
        return all(requests_at(self._wallet, other) for other in others)

    def why_not_now(self) -> str | None:
        """Return why no request can offer payjoin at this moment, or None."""
        if (reason := why_not(self._wallet)) is not None:
            return reason
        if self._wallet.network is None or not self._wallet.network.is_connected():
            return _("Electrum is offline.")
        if self._services.keeper.current() is None:
            if (trouble := self._services.keeper.trouble) is not None:
                return (
                    _("The directory's keys could not be fetched; trying again.") + f" ({trouble_words(str(trouble))})"
                )
            return _("The directory's keys are on their way.")
        return None

    def obstacle(self) -> tuple[str | None, bool]:
        """Return why no request can offer payjoin now, and whether that is so for this wallet for ever."""
        for_ever = str(self._store.unreadable) if self._store.unreadable is not None else why_unfit(self._wallet)
        return (for_ever, True) if for_ever is not None else (self.why_not_now(), False)

    def why_none(self, request: Request) -> str:
        """Return why `request`, which has no session, offers no payjoin: for JSON."""
        if self.is_plain_by_choice(request) and not self._services.settings.offer_in_commands:
            return _(
                "Requests made by commands offer no payjoin while the setting offer_in_commands is off: a program that "
                "credits the sum that arrived at the address would credit your own coin too."
            )
        return self.why_plain(request)

    def why_plain(self, request: Request) -> str:
        """Return the same for the window, where each request had its toggle."""
        if (reason := self.why_never(request)) is not None:
            return reason
        if request.get_id() in self._store.waiting_requests():
            return self.why_not_now() or _("The directory's keys are on their way.")
        return _("This request has no payjoin.")  # or had one of which no record is left

    def is_plain_by_choice(self, request: Request) -> bool:
        """Tell whether `request`, which has no session, could offer payjoin if it had been wanted."""
        return self.why_never(request) is None and request.get_id() not in self._store.waiting_requests()
