//! Sockets, TLS, DNS and relay threads.
