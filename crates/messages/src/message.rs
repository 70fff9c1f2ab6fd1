// SPDX-License-Identifier: Apache-2.0
//! A message as a value, and the words by which chapters of them are written.

use super::form;

/// The level of a message, by the number that httpd has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// The server, or a child, cannot do its work.
    Crit = 2,
    /// Something has failed.
    Error = 3,
    /// Something is not as it should be.
    Warn = 4,
    /// A change that an administrator wants to see.
    Notice = 5,
    /// For authors of scripts.
    Info = 6,
    /// For those who look for a fault.
    Debug = 7,
    /// Each decision.
    Trace2 = 9,
}

impl Severity {
    /// httpd's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Crit => "crit",
            Severity::Error => "error",
            Severity::Warn => "warn",
            Severity::Notice => "notice",
            Severity::Info => "info",
            Severity::Debug => "debug",
            Severity::Trace2 => "trace2",
        }
    }
}

/// A message.
#[derive(Debug)]
pub struct Message {
    /// 1 … 9999, the same for ever.
    pub number: u16,
    /// The name of its constant.
    pub name: &'static str,
    /// The level that it is written at.
    pub severity: Severity,
    /// Its text; words in capitals stand for what differs from line to line.
    pub form: &'static str,
    /// The meaning, for an administrator.
    pub meaning: &'static str,
    /// The thing to do.
    pub remedy: &'static str,
}

impl Message {
    /// The level, as httpd counts them: 2 (crit) … 9 (trace2).
    pub const fn level(&self) -> u8 {
        self.severity as u8
    }

    /// As it stands in the log: `LB0101`.
    pub fn id(&self) -> String {
        format!("LB{:04}", self.number)
    }

    /// A line of the log with this text.
    pub fn line(&self, text: &str) -> String {
        format!("LB{:04}: {text}", self.number)
    }

    /// Whether a text has the form of this message. Backslashes do not count: httpd writes some.
    pub fn fits(&self, text: &str) -> bool {
        form::fits(self.form, text)
    }
}

/// Messages about one subject.
#[derive(Debug)]
pub struct Chapter {
    /// The subject, as a heading.
    pub title: &'static str,
    /// By number.
    pub messages: &'static [&'static Message],
}

/// Messages as constants, and all of them as `CHAPTER`.
macro_rules! chapter {
    ($title:literal; $($name:ident $number:literal $severity:ident $form:literal : $meaning:literal ; $remedy:literal ;)+) => {
        /// The messages of this module, by number.
        pub const CHAPTER: crate::message::Chapter = crate::message::Chapter { title: $title, messages: &[$($name),+] };
        $(
            #[doc = concat!("`", $form, "`")]
            pub const $name: &crate::message::Message = &crate::message::Message {
                number: $number,
                name: stringify!($name),
                severity: crate::message::Severity::$severity,
                form: $form,
                meaning: $meaning,
                remedy: $remedy,
            };
        )+
    };
}
pub(crate) use chapter;
