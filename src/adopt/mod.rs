//! What happens to the sockets that a program opens by itself.
