// SPDX-License-Identifier: Apache-2.0
//! Ways into a pool, each written for both: `LB` stands for the scheme.

use super::generator::Generated;

/// One configuration.
pub struct Configuration {
    lines: &'static str,
    /// The rules of `.htaccess` in the folder `a`.
    htaccess: &'static str,
    /// For mod_proxy_balancer alone.
    balancer: &'static str,
    /// Requests that differ on purpose.
    apart: fn(&Generated) -> bool,
}

impl Configuration {
    /// Its text for a scheme.
    pub fn text(&self, way: &str) -> String {
        let more = if way == "balancer" { self.balancer } else { "" };
        fill(&format!("{}\n{more}", self.lines), way)
    }

    /// Its `.htaccess`.
    pub fn htaccess(&self, way: &str) -> String {
        fill(self.htaccess, way)
    }

    /// Whether a request is meant to differ.
    pub fn differs(&self, request: &Generated) -> bool {
        (self.apart)(request)
    }
}

fn fill(text: &str, way: &str) -> String {
    text.replace("LB://", &format!("{way}://"))
}

fn plain(lines: &'static str) -> Configuration {
    Configuration { lines, htaccess: "", balancer: "", apart: |_| false }
}

fn htaccess(rules: &'static str) -> Configuration {
    Configuration { lines: "", htaccess: rules, balancer: "", apart: |_| false }
}

/// All of them.
pub fn all() -> Vec<Configuration> {
    let mut all: Vec<Configuration> = LINES.iter().map(|lines| plain(lines)).collect();
    all.extend(HTACCESS.iter().map(|rules| htaccess(rules)));
    all.extend(MAPPED.map(|(lines, balancer)| Configuration {
        lines,
        htaccess: "",
        balancer,
        apart: |_| false,
    }));
    all
}

const LINES: [&str; 45] = [
    "ProxyPass / LB://app/",
    "ProxyPass /a LB://app",
    "ProxyPass /a/ LB://app/",
    "ProxyPass /a LB://app/deep",
    "ProxyPass / LB://based/",
    "ProxyPass / LB://app/ nocanon",
    "ProxyPass /a LB://app/x nocanon",
    "ProxyPass / LB://app/ mapping=servlet",
    "ProxyPass / LB://app/ mapping=encoded",
    "ProxyPassMatch ^/a/(.*)$ LB://app/$1",
    "ProxyPassMatch ^(/.*)$ LB://app$1",
    "ProxyPassMatch ^/[ab] LB://app",
    "ProxyPassMatch ^/a/([^/]*)/?(.*)$ LB://app/$2?p=$1",
    "ProxyPassMatch ^/a/(.*)$ LB://app/$1 nocanon",
    "<Location /a>\nProxyPass LB://app/l\n</Location>",
    "<LocationMatch ^/[ab]/(.*)$>\nProxyPassMatch LB://app/m/$1\n</LocationMatch>",
    "AllowEncodedSlashes On\nProxyPass / LB://app/",
    "AllowEncodedSlashes NoDecode\nProxyPass / LB://app/",
    "AllowEncodedSlashes NoDecode\nProxyPass / LB://app/ nocanon",
    "MergeSlashes Off\nProxyPass / LB://app/",
    "RewriteEngine On\nRewriteRule ^/(.*)$ LB://app/$1 [P]",
    "RewriteEngine On\nRewriteRule ^/(.*)$ LB://app/$1 [P,NE]",
    "RewriteEngine On\nRewriteRule ^/(.*)$ LB://app/$1 [P,B]",
    "RewriteEngine On\nRewriteRule ^/(.*)$ LB://app/$1?q=$1 [P,QSA,B]",
    "RewriteEngine On\nRewriteRule ^/(.*)$ LB://app/x?n=1 [P,QSA,NE]",
    "RewriteEngine On\nRewriteRule ^/A/(.*)$ LB://app/$1 [P,NC,QSD]",
    "RewriteEngine On\nRewriteRule ^/(.*)$ LB://based/$1 [P,NE,B]",
    "RewriteEngine On\nRewriteRule ^/a/(.*)$ /z/$1 [PT]\nProxyPass /z LB://app",
    "<Location />\nRewriteEngine On\nRewriteRule .*/a/(.*)$ LB://app/$1 [P]\n</Location>",
    "<Location />\nRewriteEngine On\nRewriteRule .*/a/(.*)$ LB://app/$1 [P,NE]\n</Location>",
    "<Location />\nRewriteEngine On\nRewriteRule .*/a/(.*)$ LB://app/$1?q=$1 [P,QSA,B]\n</Location>",
    "<Directory DIR>\nRewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1 [P]\n</Directory>",
    "<Directory DIR>\nRewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1 [P,NE]\n</Directory>",
    "<Directory DIR/a>\nRewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1 [P,NE,B,QSA,NC]\n</Directory>",
    "DirectoryIndex index.php\nProxyPassMatch ^/(.*\\.php)$ LB://app/$1",
    "DirectoryIndex index.php\n<Directory DIR>\nRewriteEngine On\nRewriteRule ^(.*\\.php)$ LB://app/$1 [P]\n</Directory>",
    "FallbackResource /front.php\nProxyPassMatch ^/(.*\\.php)$ LB://app/$1",
    "ProxyPreserveHost On\nProxyPass / LB://app/",
    "ProxyAddHeaders Off\nProxyPass / LB://app/",
    "ProxyVia Full\nProxyPass / LB://app/",
    "ProxyErrorOverride On\nErrorDocument 404 \"none\"\nErrorDocument 500 /a/error\nProxyPass / LB://app/",
    "ProxyPass /a LB://app\nProxyPassReverse /a LB://app\nProxyPassReverseCookieDomain 127.0.0.1 front.example\nProxyPassReverseCookiePath /base /a",
    "ProxyPass / LB://based/\nProxyPassReverse / LB://based/",
    "RequestHeader set X-Added 1\nRequestHeader unset Cookie\nHeader edit Set-Cookie $ \";Secure\"\nHeader always set X-Always 1\nProxyPass / LB://app/",
    "SetEnvIf Request_URI b to=b\nProxyPassInterpolateEnv On\nProxyPass /a LB://app/${to}/ interpolate",
];

const HTACCESS: [&str; 8] = [
    "RewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1 [P]\n",
    "RewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1 [P,NE]\n",
    "RewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1 [P,B]\n",
    "RewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1?n=1 [P,QSA]\n",
    "RewriteEngine On\nRewriteRule ^(.*)$ LB://app/$1?n=$1 [P,QSA,B,NE]\n",
    "RewriteEngine On\nRewriteRule ^X(.*)$ LB://app/$1 [P,NC]\n",
    "RewriteEngine On\nDirectoryIndex index.php\nRewriteRule ^(.*\\.php)$ LB://app/a/$1 [P]\n",
    "RewriteEngine On\nDirectoryIndex index.php\nRewriteRule ^(.*\\.php)$ LB://based/a/$1 [P,NE]\n",
];

/// Lines with which a pool with `reverse=on` maps by itself, and the lines that do it for a
/// balancer. `FRONT` is the host that the client asks.
const MAPPED: [(&str, &str); 3] = [
    (
        "ProxyPass /a LB://mapped",
        "ProxyPassReverse /a balancer://mapped\nProxyPassReverseCookieDomain 127.0.0.1 FRONT",
    ),
    (
        "ProxyPass / LB://mapped/",
        "ProxyPassReverse / balancer://mapped/\nProxyPassReverseCookieDomain 127.0.0.1 FRONT",
    ),
    (
        "ProxyPass /a LB://mapped/base",
        "ProxyPassReverse /a balancer://mapped/base\nProxyPassReverse / balancer://mapped/\n\
         ProxyPassReverseCookieDomain 127.0.0.1 FRONT",
    ),
];
