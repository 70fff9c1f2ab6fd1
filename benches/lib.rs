//! Nothing by itself: see `benches/`.
