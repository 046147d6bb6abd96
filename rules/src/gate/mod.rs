//! Gates: barriers and doors with their sensors, under one law of interlocks.
