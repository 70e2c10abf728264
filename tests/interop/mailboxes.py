"""What lies in the mailboxes of the stand's directory. A mailbox is written once, and a poll makes none."""

from __future__ import annotations

import re

from payjoin_plugin.session.log import decode_log, replay
from payjoin_plugin.session.receiver import PostingProposal, ProposalPosted, apply, open_state
from payjoin_plugin.wire.mailbox import read_poll, relay_url
from payjoin_plugin.wire.uri import PjEndpoint, parse
from tests.interop.receiver import Receiver
from tests.stand import http
from tests.stand.stand import Stand


def written(stand: Stand) -> set[str]:
    """Return the names of all mailboxes into which somebody has written; payjoin-mailroom keeps a file for each."""
    files = (stand.mailroom.folder / "directory").iterdir()
    return {file.name for file in files if re.fullmatch("[0-9A-Z]{13}", file.name)}


def own_mailbox(uri: str) -> str:
    """Return the mailbox that a request's URI names."""
    endpoint = parse(uri).endpoint
    assert isinstance(endpoint, PjEndpoint)
    return str(endpoint.mailbox)


def holds_our_answer(stand: Stand, receiver: Receiver, session_id: str) -> bool:
    """Tell whether what lies in the sender's mailbox is the answer of which the wallet file tells."""
    log = receiver.stored()["plugin_data"]["payjoin"]["sessions"][session_id]
    state = open_state(replay(decode_log(log, role="receiver"), apply))
    assert isinstance(state, PostingProposal | ProposalPosted)
    answered = ProposalPosted(state.created, state.retrieved, state.accepted, state.committed, state.signed)
    call = answered.read_back()
    assert call is not None
    url = relay_url(stand.mailroom.relay_url, stand.mailroom.directory_url)
    _, body = http.request("POST", url, call.body, {"Content-Type": "message/ohttp-req"})
    content = read_poll(call, body)
    return content is not None and answered.is_ours(content)
