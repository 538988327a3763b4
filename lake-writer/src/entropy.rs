//! Randomness, as a constructor argument.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// Where names of files and commits and the jitter of waits come from.
pub struct Entropy(Mutex<StdRng>);

impl Entropy {
    /// Seeded by the operating system: unique names.
    pub fn from_os() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// The same every time; for simulations.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A random (version 4) UUID.
    pub(crate) fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.with(Rng::random)).into_uuid()
    }

    /// A random duration between half of `wait` and all of it.
    pub(crate) fn jitter(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.with(|rng| rng.random_range(0.5..1.0)))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}
