"""What a payjoin transaction may look like: pure functions on PSBTs. Money rules live here; no wallet, no clock."""
