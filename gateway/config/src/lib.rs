//! The site file: read, checked in one run, and turned into a Site that needs no further checks.
