//! Credentials, and who may pass a gate.
