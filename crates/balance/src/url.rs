//! Member URLs.

/// Where a member is. Printed by `Display` in mod_proxy's normal form: lower-case scheme and host, no default port left
/// out by the writer is added, no trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberUrl {
    /// `http https h2 h2c ajp fcgi scgi uwsgi ws wss`.
    pub scheme: String,
    /// Host name or address, lower case; IPv6 without brackets.
    pub host: String,
    /// The port, the scheme's default when none was written.
    pub port: u16,
    /// Path that comes before the request's, without trailing slash; empty for none.
    pub path: String,
    /// Path of a unix socket: `unix:/sock|http://localhost`.
    pub socket: Option<String>,
}
