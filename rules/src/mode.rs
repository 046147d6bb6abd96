//! Online, degraded, recovering: entered and left once for each outage.
