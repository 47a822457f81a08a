//! The Redis protocol server: listeners, connections, sessions, dispatch, error codes.
