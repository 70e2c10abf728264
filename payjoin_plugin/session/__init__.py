"""What happened in a payjoin session and what may happen next. No I/O, and no clock but the `now` it is given."""
