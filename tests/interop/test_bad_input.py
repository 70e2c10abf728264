"""Whatever people and programs hand us that is wrong: the answer is a sentence, nothing changes, Electrum goes on."""

from __future__ import annotations

import pytest

from tests.interop.conftest import new_lightning_wallet, new_wallet
from tests.interop.receiver import Receiver
from tests.interop.sender import AMOUNT
from tests.stand import electrum_daemon, http
from tests.stand.electrum_daemon import ElectrumError
from tests.stand.stand import Stand

pytestmark = pytest.mark.timeout(240)

PASSWORD = "secret of the till"

UNKNOWN = "0123456789abcdef"
"""No session's ID."""

LIVE = "the session"
REQUEST = "its request"
LIGHTNING = "a lightning request"
"""What a test puts the right value in for."""


@pytest.fixture(scope="module")
def shop(stand: Stand, daemon: Receiver) -> Receiver:
    return new_lightning_wallet(stand, daemon, 1_000_000)


@pytest.fixture(scope="module")
def names(shop: Receiver) -> dict[str, str]:
    """A request that waits for its sender, its session, and a lightning request."""
    request = shop.payjoin_request(AMOUNT)
    return {
        LIVE: request["payjoin"]["session_id"],
        REQUEST: request["request_id"],
        LIGHTNING: shop.request(AMOUNT, lightning=True)["request_id"],
    }


def refusal(receiver: Receiver, method: str, **params: object) -> str:
    """Return the sentence with which a command refuses."""
    with pytest.raises(ElectrumError) as refused:
        receiver.rpc(method, **params)
    text = str(refused.value)
    assert "internal error" not in text
    return text


# Arguments

OF_A_SESSION = ("session", "abort", "answer", "broadcast_original", "original")


NO_ID: list[object] = [UNKNOWN, "", "0", 5, True, None, 1.5, [], ["a"], {}, {"a": 1}]


@pytest.mark.parametrize("command", OF_A_SESSION)
def test_what_is_no_session_of_this_wallet_is_said_so(shop: Receiver, names: dict[str, str], command: str) -> None:
    for value in [*NO_ID, names[REQUEST], names[LIGHTNING]]:
        text = refusal(shop, f"payjoin_{command}", session_id=value)
        assert text == f"session_id: this wallet has no payjoin session {value!r}"


def test_what_is_no_request_of_this_wallet_is_said_so(shop: Receiver, names: dict[str, str]) -> None:
    for value in [*NO_ID, names[LIVE]]:
        text = refusal(shop, "payjoin_decline", request_id=value)
        assert text == f"request_id: this wallet has no request {value!r}"


def test_a_lightning_request_has_nothing_to_decline(shop: Receiver, names: dict[str, str]) -> None:
    text = refusal(shop, "payjoin_decline", request_id=names[LIGHTNING])
    assert text == f"request_id: {names[LIGHTNING]} is a lightning request and has no payjoin to decline"


@pytest.mark.parametrize(
    ("command", "missing"), [*((command, "session_id") for command in OF_A_SESSION), ("decline", "request_id")]
)
def test_a_missing_argument_is_named(shop: Receiver, command: str, missing: str) -> None:
    assert refusal(shop, f"payjoin_{command}") == f"missing argument: {missing}"


@pytest.mark.parametrize("command", [*OF_A_SESSION, "decline", "sessions", "check"])
def test_an_unknown_argument_is_named(shop: Receiver, command: str) -> None:
    assert (
        refusal(shop, f"payjoin_{command}", verbose=True, sesion_id=UNKNOWN) == "unknown argument: sesion_id, verbose"
    )


@pytest.mark.parametrize("command", [*OF_A_SESSION, "decline", "sessions", "check"])
def test_too_many_arguments_in_a_list(shop: Receiver, command: str) -> None:
    url = f"http://127.0.0.1:{shop.daemon.port}"
    credentials = (electrum_daemon.USER, electrum_daemon.PASSWORD)
    answer = http.json_rpc(url, *credentials, f"payjoin_{command}", [UNKNOWN, True, None, None, 1])
    assert "too many arguments" in answer["error"]["message"]


@pytest.mark.parametrize("command", [*OF_A_SESSION, "decline", "sessions"])
def test_the_wallet_is_no_path(shop: Receiver, command: str) -> None:
    params = {} if command == "sessions" else {"request_id" if command == "decline" else "session_id": UNKNOWN}
    nonsense: tuple[object, ...] = (5, True, ["wallet"], {})
    for value in nonsense:
        with pytest.raises(ElectrumError) as refused:
            shop.daemon.rpc(f"payjoin_{command}", wallet_path=value, **params)
        assert str(refused.value) == f"wallet_path: must be a path, not {value!r}"


def test_the_wallet_is_not_open(shop: Receiver) -> None:
    with pytest.raises(ElectrumError, match=r"^wallet not loaded$"):
        shop.daemon.rpc("payjoin_sessions", wallet_path=shop.daemon.wallet_path("nobody's"))


def test_a_switch_is_true_or_false(shop: Receiver, names: dict[str, str]) -> None:
    nonsense: tuple[object, ...] = ("yes", "true", 1, 0, None, [], {})
    for value in nonsense:
        text = refusal(shop, "payjoin_sessions", all=value)
        assert text == f"all: must be true or false, not {value!r}"
        text = refusal(shop, "payjoin_abort", session_id=names[LIVE], broadcast_original=value)
        assert text == f"broadcast_original: must be true or false, not {value!r}"


def test_there_is_nothing_to_do_yet(shop: Receiver, names: dict[str, str]) -> None:
    live = names[LIVE]
    assert refusal(shop, "payjoin_answer", session_id=live).endswith(f"{live} is not waiting for an answer")
    for command in ("original", "broadcast_original"):
        assert refusal(shop, f"payjoin_{command}", session_id=live).endswith(f"{live} holds no original payment")


def test_after_all_that_the_session_is_what_it_was(shop: Receiver, names: dict[str, str]) -> None:
    assert shop.session(names[LIVE])["stage"] == "waiting_for_sender"
    assert shop.events(names[LIVE]) == ["Created"]
    assert [row["session_id"] for row in shop.rpc("payjoin_sessions", all=True)] == [names[LIVE]]


def test_a_password_is_a_text(stand: Stand, daemon: Receiver) -> None:
    locked = new_wallet(stand, daemon, password=PASSWORD)
    nonsense: tuple[object, ...] = (5, True, [], {})
    for value in nonsense:
        assert refusal(locked, "payjoin_answer", session_id=UNKNOWN, password=value) == "password: must be a text"
    for text in ("", "a wrong one"):
        assert "assword" in refusal(locked, "payjoin_answer", session_id=UNKNOWN, password=text)


# Settings


def bad(*names: str, sentence: str, values: list[object]) -> list[tuple[str, object, str]]:
    return [(name, value, f"{name}{sentence}") for name in names for value in values]


WHOLE, LISTS = " must be a whole number from", ("directories", "ohttp_relays")

BAD_SETTINGS = [
    *bad("session_lifetime", sentence=WHOLE, values=[59, 604_801, 60.0, 600.5, "many", True, [60], {}]),
    *bad("minimum_amount", sentence=WHOLE, values=[-1, 100_000_001, 5.5, "many", False, [5], {}]),
    *bad("open_polls", sentence=WHOLE, values=[9, 1001, 50.5, "many", False, [5], {}]),
    *bad("max_receiver_fee_sat", sentence=WHOLE, values=[-1, 1_000_001, 0.5, "many", False, [5], {}]),
    *bad(
        "max_receiver_fee_rate",
        sentence=" must be a number from 1 to 1,000 sat/vB",
        values=[0.99, 1000.1, -5, 0, 1001, float("nan"), float("inf"), "much", True, [1], {}],
    ),
    *bad(
        "offer_in_window",
        "offer_in_commands",
        "accept_v1_senders",
        "ask_before_contributing",
        "broadcast_original_by_itself",
        sentence=" must be true or false",
        values=[1, 0, "yes", [], 0.5],
    ),
    *bad(
        *LISTS,
        sentence=" must be a JSON list of at least one address",
        values=[[], "https://payjo.in", {"https://payjo.in": 1}, [5], ["https://payjo.in", None], 5, True],
    ),
    *bad(
        *LISTS,
        sentence=": ",
        values=[
            ["http://payjo.in"],
            ["ftp://payjo.in"],
            ["https://me:secret@payjo.in"],
            ["https://payjo.in/path"],
            ["https://payjo.in?query"],
            ["https://payjo.in#fragment"],
            ["https://payjo.in:99999"],
            ["https://"],
            ["payjo.in"],
            [""],
            ["https://payjo.in", "nonsense"],
        ],
    ),
]

GOOD_SETTINGS: list[tuple[str, object]] = [
    ("session_lifetime", 60),
    ("session_lifetime", 604_800),
    ("minimum_amount", 0),
    ("minimum_amount", 100_000_000),
    ("open_polls", 10),
    ("open_polls", 1000),
    ("max_receiver_fee_sat", 0),
    ("max_receiver_fee_sat", 1_000_000),
    ("max_receiver_fee_rate", 1),
    ("max_receiver_fee_rate", 1000),
    ("max_receiver_fee_rate", 2.5),
    ("accept_v1_senders", False),
    (
        "ohttp_relays",
        ["https://relay.example", "http://exampleexampleexampleexampleexampleexampleexampleexample.onion"],
    ),
]


def test_a_setting_out_of_bounds_is_refused_with_a_sentence_and_nothing_changes(shop: Receiver) -> None:
    before = {name: shop.daemon.getconfig(f"plugins.payjoin.{name}") for name, _, _ in BAD_SETTINGS}
    for name, value, sentence in BAD_SETTINGS:
        with pytest.raises(ElectrumError) as refused:
            shop.daemon.setconfig(f"plugins.payjoin.{name}", value)
        assert str(refused.value).startswith(sentence), (name, value)
        assert shop.daemon.getconfig(f"plugins.payjoin.{name}") == before[name], (name, value)


@pytest.mark.parametrize(("name", "value"), GOOD_SETTINGS)
def test_the_bounds_themselves_are_allowed(shop: Receiver, name: str, value: object) -> None:
    key = f"plugins.payjoin.{name}"
    before = shop.daemon.getconfig(key)
    shop.daemon.setconfig(key, value)
    assert shop.daemon.getconfig(key) == value
    shop.daemon.setconfig(key, before)
    assert shop.daemon.getconfig(key) == before


def test_a_setting_that_does_not_exist_is_refused(shop: Receiver) -> None:
    with pytest.raises(
        ElectrumError, match=r"plugins\.payjoin\.offer_in_comands: there is no such setting; there are "
    ):
        shop.daemon.setconfig("plugins.payjoin.offer_in_comands", value=True)


def test_a_wallet_is_named_by_its_path(shop: Receiver) -> None:
    assert refusal(shop, "payjoin_sessions", wallet="some path") == "wallet: is called wallet_path here"
