// SPDX-License-Identifier: Apache-2.0
//! Scripts as files: read, watched for changes, and kept with their versions.

pub(crate) mod bundle;
pub(crate) mod library;
pub(crate) mod loader;
pub(crate) mod stamp;
