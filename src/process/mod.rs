//! Process trees: spawn, signal, reap, account.
