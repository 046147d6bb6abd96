//! Records to the core over MQTT: payloads, topics, the session with its own in-flight ledger, TLS.
