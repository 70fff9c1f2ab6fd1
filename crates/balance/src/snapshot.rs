//! Everything that can be shown.
