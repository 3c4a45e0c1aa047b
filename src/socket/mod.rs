//! Listening sockets: groups, slots, steering, relay.
