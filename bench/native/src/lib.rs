//! Nothing but its benchmarks: a package of its own, so that the engine's tests do not compile what only they need.
