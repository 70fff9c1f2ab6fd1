// SPDX-License-Identifier: Apache-2.0
//! Nothing by itself: the benchmarks stand in `benches/` beside it.
