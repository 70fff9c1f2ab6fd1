// SPDX-License-Identifier: Apache-2.0
//! After the relay: what finish hooks are told.

pub mod finish;
