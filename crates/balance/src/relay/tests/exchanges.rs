// SPDX-License-Identifier: Apache-2.0
//! Ends of exchanges, as values to begin from.

use super::super::*;

/// An exchange that mod_proxy_http has had over a kept connection, and returned this.
pub fn kept(returned: HookStatus) -> Exchange {
    Exchange {
        module: SchemeModule::Http,
        returned,
        status_before: 200,
        status: 200,
        aborted: false,
        connected: false,
        sent: true,
        secure: false,
        exhausted: false,
        signs: FailureSigns::default(),
    }
}

/// The same over a new connection.
pub fn fresh(returned: HookStatus) -> Exchange {
    Exchange { connected: true, ..kept(returned) }
}

pub fn by(module: SchemeModule, returned: HookStatus) -> Exchange {
    Exchange { module, ..kept(returned) }
}

pub fn words(exchange: Exchange, words: ErrorWords) -> Exchange {
    Exchange { signs: FailureSigns { words, ..exchange.signs }, ..exchange }
}

pub fn timed_out(exchange: Exchange) -> Exchange {
    Exchange { signs: FailureSigns { timed_out: true, ..exchange.signs }, ..exchange }
}

pub fn overridden(exchange: Exchange) -> Exchange {
    Exchange { signs: FailureSigns { overridden: true, ..exchange.signs }, ..exchange }
}

pub fn status(status: u16, exchange: Exchange) -> Exchange {
    Exchange { status, ..exchange }
}

pub fn gone(exchange: Exchange) -> Exchange {
    Exchange { aborted: true, ..exchange }
}

pub fn over_tls(exchange: Exchange) -> Exchange {
    Exchange { secure: true, ..exchange }
}

pub fn unknown_coding(exchange: Exchange) -> Exchange {
    Exchange { signs: FailureSigns { unknown_coding: true, ..exchange.signs }, ..exchange }
}

/// An exchange for an error document: the request has the error's status from the beginning.
pub fn of_document(returned: HookStatus) -> Exchange {
    Exchange { status_before: 503, status: 503, ..kept(returned) }
}
