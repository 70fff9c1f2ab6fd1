// SPDX-License-Identifier: Apache-2.0
//! httpd's configuration, read without httpd: the text as lines and sections ([`text`]), and what
//! our directives and mod_proxy's say in it ([`read`], [`site`]).

mod patterns;
pub mod read;
pub mod site;
pub mod surroundings;
pub mod text;
