//! Where a request comes from: the address of its connection, or what proxies that the settings name
//! say of it.
//!
//! Nobody else is believed, because `X-Forwarded-For` is a header like any other. Of the addresses
//! that it lists the last one that is no proxy's is meant: what stands before it was written by
//! whoever sent the request.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::ApiState;

/// The header that proxies write; each adds who it was asked by at its end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Proxies that are believed, by their addresses or networks.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<[IpNet]>);

/// What is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address, such as 10.0.0.1, nor a network, such as 10.0.0.0/8")]
pub struct ProxyInvalid(String);

impl Proxies {
    /// Those of these addresses and networks (`10.0.0.1`, `10.0.0.0/8`, `fd00::/8`).
    ///
    /// # Errors
    /// [`ProxyInvalid`].
    pub fn parse(texts: &[String]) -> Result<Self, ProxyInvalid> {
        let parse = |text: &String| {
            let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            net.map_err(|_| ProxyInvalid(text.clone()))
        };
        Ok(Self(texts.iter().map(parse).collect::<Result<_, _>>()?))
    }

    fn believes(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address.to_canonical()))
    }
}

/// Whoever sent a request; `None` where the connection is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer(pub Option<IpAddr>);

impl Peer {
    /// The peer of a request with these extensions, which hold [`ConnectInfo`], and these headers.
    #[must_use]
    pub fn of(extensions: &Extensions, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let connected = extensions.get::<ConnectInfo<SocketAddr>>();
        let Some(ConnectInfo(connected)) = connected else { return Self(None) };
        let mut address = connected.ip().to_canonical();
        // Behind the header's values, as behind one value's addresses, stand those added later.
        let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let listed: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        for before in listed.iter().rev() {
            if !proxies.believes(address) {
                break;
            }
            let Some(before) = parse(before) else { break };
            address = before;
        }
        Self(Some(address))
    }
}

/// Some proxies write ports, too.
fn parse(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

impl FromRequestParts<ApiState> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions, &parts.headers, &state.settings.proxies))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn peer(connected: &str, forwarded: &[&'static str]) -> String {
        let proxies = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"].map(str::to_owned);
        let proxies = Proxies::parse(&proxies).expect("addresses");
        let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
        extensions.insert(ConnectInfo(connected.parse::<SocketAddr>().expect("an address")));
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        let Peer(address) = Peer::of(&extensions, &headers, &proxies);
        address.expect("connected").to_string()
    }

    #[test]
    fn only_a_known_proxy_is_believed() {
        assert_eq!(peer("203.0.113.9:1", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(peer("10.1.2.3:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(peer("192.0.2.1:1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(peer("192.0.2.2:1", &["198.51.100.1"]), "192.0.2.2");
        assert_eq!(peer("[::ffff:10.0.0.1]:1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(peer("[fd00::1]:1", &[]), "fd00::1");
    }

    #[test]
    fn what_the_sender_wrote_itself_is_passed_over() {
        assert_eq!(peer("10.0.0.1:1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(peer("10.0.0.1:1", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(peer("10.0.0.1:1", &["1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(peer("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        for text in ["", "proxy.example.com", "10.0.0.0/33", "*"] {
            let invalid = ProxyInvalid(text.to_owned());
            assert_eq!(Proxies::parse(&[text.to_owned()]).expect_err(text), invalid);
        }
    }
}
