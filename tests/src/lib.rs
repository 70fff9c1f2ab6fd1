//! Support for tests against a real httpd.
