//! A client for Keystead and Redis servers: connections, pipelines, redirects.
