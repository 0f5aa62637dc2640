//! Where the client finds the API server.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

/// The addresses of the server whose URL has this host (an IPv6 address in brackets), and this port unless it is HTTPS's. A
/// name is looked up.
///
/// # Errors
/// The name can't be found.
pub async fn addresses(host: &str, port: Option<u16>) -> io::Result<BTreeSet<SocketAddr>> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok(tokio::net::lookup_host((host, port.unwrap_or(443))).await?.collect())
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[tokio::test]
    async fn a_host_that_is_an_address_is_just_that() {
        for (host, port, address) in [
            ("10.96.0.1", None, "10.96.0.1:443"),
            ("192.0.2.1", Some(6443), "192.0.2.1:6443"),
            ("[2001:db8::1]", Some(6443), "[2001:db8::1]:6443"),
        ] {
            let found = addresses(host, port).await.unwrap();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), [address.parse().unwrap()], "{host}");
        }
    }
}
