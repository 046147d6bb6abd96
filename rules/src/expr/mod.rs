//! Conditions of rules: CEL expressions over points, checked when the site loads.
