use std::collections::BTreeSet;
use std::net::SocketAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kube::runtime::watcher::Event;

use super::ApiServer;

fn slice(addresses: &[&str]) -> EndpointSlice {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    EndpointSlice {
        endpoints: vec![Endpoint { addresses, ..Endpoint::default() }],
        ports: Some(vec![EndpointPort { port: Some(6443), ..EndpointPort::default() }]),
        ..EndpointSlice::default()
    }
}

fn addresses(texts: &[&str]) -> Option<BTreeSet<SocketAddr>> {
    Some(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn known(api_server: &ApiServer) -> Option<BTreeSet<SocketAddr>> {
    api_server.addresses().as_deref().cloned()
}

#[test]
fn nothing_is_known_before_it_has_told() {
    let mut api_server = ApiServer::new(addresses(&["10.96.0.1:443"]).unwrap());
    assert!(!api_server.apply(Event::Init));
    assert_eq!(known(&api_server), None);
    assert!(api_server.apply(Event::InitApply(slice(&["192.0.2.1", "2001:db8::1"]))));
    assert!(!api_server.apply(Event::InitDone));
    let all = addresses(&["10.96.0.1:443", "192.0.2.1:6443", "[2001:db8::1]:6443"]);
    assert_eq!(known(&api_server), all);
    assert!(!api_server.apply(Event::Apply(slice(&["2001:db8::1", "192.0.2.1"]))), "the same");
    assert!(api_server.apply(Event::Apply(slice(&["192.0.2.9"]))));
    assert_eq!(known(&api_server), addresses(&["10.96.0.1:443", "192.0.2.9:6443"]));
}

#[test]
fn one_that_tells_of_nothing_takes_nothing_away() {
    let mut api_server = ApiServer::new(addresses(&["10.96.0.1:443"]).unwrap());
    assert!(api_server.apply(Event::InitApply(slice(&["192.0.2.1"]))));
    let all = known(&api_server);
    assert!(!api_server.apply(Event::Apply(slice(&[]))));
    assert!(!api_server.apply(Event::Delete(slice(&["192.0.2.1"]))));
    assert!(!api_server.apply(Event::Init) && !api_server.apply(Event::InitDone));
    assert_eq!(known(&api_server), all);
    // A cluster without it has the address that the agent was given.
    let mut api_server = ApiServer::new(addresses(&["10.96.0.1:443"]).unwrap());
    assert!(api_server.apply(Event::InitDone));
    assert_eq!(known(&api_server), addresses(&["10.96.0.1:443"]));
}
