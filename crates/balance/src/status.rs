// SPDX-License-Identifier: Apache-2.0
//! One member's live status: everything that decides whether it may be picked, in one 64-bit word,
//! so that a reader sees weight and state of the same instant with one load.
//!
//! | bits   | holds |
//! |--------|-------|
//! | 0..=22 | weight in hundredths, 0 ..= 6 553 500 (weight 1 is 100) |
//! | 24..=31| lbset, 0 ..= 99 |
//! | 32..=39| ramp: slow start, 0 ..= 255, where 255 is the full weight |
//! | 40..   | flags, see the constants |

/// Largest weight in hundredths: weight 65535.
pub const MAX_WEIGHT_HUNDREDTHS: u32 = 6_553_500;
/// Largest lbset, as in mod_proxy.
pub const MAX_LBSET: u8 = 99;

/// A member's status word. See the module's table for its layout.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Status(pub u64);

impl Status {
    /// `status=+D`: switched off by an administrator.
    pub const DISABLED: u64 = 1 << 40;
    /// `status=+S`: stopped by an administrator; not even sticky sessions reach it.
    pub const STOPPED: u64 = 1 << 41;
    /// `status=+I`: checks and failures never take it out.
    pub const IGNORE_ERRORS: u64 = 1 << 42;
    /// `status=+H`: standby, used when nothing else of its lbset is usable.
    pub const STANDBY: u64 = 1 << 43;
    /// `status=+R`: hot spare, replaces an unusable member of its lbset.
    pub const SPARE: u64 = 1 << 44;
    /// `status=+N`: draining; keeps its sessions, takes no new ones.
    pub const DRAINING: u64 = 1 << 45;
    /// `status=+E`: in error by order of an administrator.
    pub const FORCED_ERROR: u64 = 1 << 46;
    /// Active checks say that it is down.
    pub const CHECK_DOWN: u64 = 1 << 47;
    /// Passive checks (outlier detection) have ejected it.
    pub const EJECTED: u64 = 1 << 48;
    /// The row is in use.
    pub const LIVE: u64 = 1 << 49;
    /// An agent wants no new sessions there.
    pub const AGENT_DRAIN: u64 = 1 << 50;
    /// An agent wants no requests there.
    pub const AGENT_MAINT: u64 = 1 << 51;
    /// The flags of active checks; an administrator's orders are other flags.
    pub const CHECKS: u64 = Self::CHECK_DOWN | Self::AGENT_DRAIN | Self::AGENT_MAINT;
    /// The flags that an administrator or script sets; the rest is observed.
    pub const ADMIN: u64 = Self::DISABLED
        | Self::STOPPED
        | Self::IGNORE_ERRORS
        | Self::STANDBY
        | Self::SPARE
        | Self::DRAINING
        | Self::FORCED_ERROR;

    const WEIGHT: u64 = (1 << 23) - 1;

    /// A live member with this weight (hundredths, capped at [`MAX_WEIGHT_HUNDREDTHS`]), lbset and
    /// admin flags, at full ramp.
    pub fn new(weight_hundredths: u32, lbset: u8, flags: u64) -> Self {
        Status(
            u64::from(weight_hundredths.min(MAX_WEIGHT_HUNDREDTHS))
                | u64::from(lbset.min(MAX_LBSET)) << 24
                | 255 << 32
                | (flags & Self::ADMIN)
                | Self::LIVE,
        )
    }

    /// Configured weight in hundredths.
    pub fn weight(self) -> u32 {
        (self.0 & Self::WEIGHT) as u32
    }

    /// Weight in hundredths after slow start, at least 1 while the configured one is not 0.
    pub fn effective_weight(self) -> u32 {
        let weight = self.weight();
        match self.ramp() {
            255 => weight,
            ramp => ((u64::from(weight) * (u64::from(ramp) + 1)) / 256).max(u64::from(weight.min(1))) as u32,
        }
    }

    /// Tier of the member; lower ones are used first.
    pub fn lbset(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// [`Status::effective_weight`] of which an agent wants this much.
    pub fn share(self, percent: u16) -> u32 {
        let weight = u64::from(self.effective_weight()) * u64::from(percent) / 100;
        weight.clamp(1, u64::from(MAX_WEIGHT_HUNDREDTHS)) as u32
    }

    /// Slow start progress, 255 when done.
    pub fn ramp(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Whether any of these flags is set.
    pub fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// With these flags set.
    #[must_use]
    pub fn with(self, flags: u64) -> Self {
        Status(self.0 | flags)
    }

    /// With these flags cleared.
    #[must_use]
    pub fn without(self, flags: u64) -> Self {
        Status(self.0 & !flags)
    }

    /// With another weight (hundredths, capped).
    #[must_use]
    pub fn with_weight(self, weight_hundredths: u32) -> Self {
        Status(self.0 & !Self::WEIGHT | u64::from(weight_hundredths.min(MAX_WEIGHT_HUNDREDTHS)))
    }

    /// With another lbset (capped).
    #[must_use]
    pub fn with_lbset(self, lbset: u8) -> Self {
        Status(self.0 & !(0xff << 24) | u64::from(lbset.min(MAX_LBSET)) << 24)
    }

    /// With another slow start progress.
    #[must_use]
    pub fn with_ramp(self, ramp: u8) -> Self {
        Status(self.0 & !(0xff << 32) | u64::from(ramp) << 32)
    }

    /// Healthy as far as checks and traffic tell: neither down nor ejected nor in forced error.
    pub fn healthy(self) -> bool {
        !self.has(Self::FORCED_ERROR)
            && (self.has(Self::IGNORE_ERRORS) || !self.has(Self::CHECK_DOWN | Self::EJECTED))
    }

    /// May take requests of sessions that it already has.
    pub fn serves_sessions(self) -> bool {
        self.has(Self::LIVE)
            && !self.has(Self::DISABLED | Self::STOPPED | Self::AGENT_MAINT)
            && self.healthy()
    }

    /// May take new requests: live, not switched off, not draining, healthy, and of a weight
    /// above 0. Tiers (lbset, spares, standbys) are the pool's affair.
    pub fn usable(self) -> bool {
        self.serves_sessions() && !self.has(Self::DRAINING | Self::AGENT_DRAIN) && self.weight() > 0
    }

    /// The word that scripts and pages show. A draining member that is down or ejected serves
    /// nobody, and is shown so.
    pub fn state(self) -> State {
        if self.has(Self::DISABLED | Self::STOPPED | Self::AGENT_MAINT) {
            State::Disabled
        } else if self.has(Self::DRAINING | Self::AGENT_DRAIN) && self.healthy() {
            State::Draining
        } else if self.has(Self::FORCED_ERROR | Self::CHECK_DOWN) {
            State::Down
        } else if self.has(Self::EJECTED) {
            State::Ejected
        } else {
            State::Up
        }
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Status({} weight {}.{:02} lbset {} ramp {} flags {:#x})",
            self.state(),
            self.weight() / 100,
            self.weight() % 100,
            self.lbset(),
            self.ramp(),
            self.0 >> 40
        )
    }
}

/// The word of a member's `state` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Takes requests.
    Up,
    /// Taken out by active checks.
    Down,
    /// Taken out by failed requests.
    Ejected,
    /// Keeps its sessions, takes no new ones.
    Draining,
    /// Switched off.
    Disabled,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Up => "up",
            State::Down => "down",
            State::Ejected => "ejected",
            State::Draining => "draining",
            State::Disabled => "disabled",
        })
    }
}
