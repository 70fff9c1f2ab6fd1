//! Nothing by itself: the benchmarks stand in `benches/` beside it.
