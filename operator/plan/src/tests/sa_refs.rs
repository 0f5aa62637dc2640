//! What an IpsecSA names and isn't there.

use esplanade_crds::IpFamily;

use super::build::{ENCRYPTION_KEY, INTEGRITY_KEY, address_end, encryption, key, mk_node, mk_sa, mk_secret};
use super::world::World;

/// The condition ResolvedRefs of an IpsecSA that wasn't there before.
fn resolved(edit: impl FnOnce(&mut World)) -> String {
    let mut world = World::settled();
    world.snapshot.sas.push(mk_sa("new", "a", "b", 0x2001));
    edit(&mut world);
    let plan = world.plan();
    assert_eq!(plan.sa("new", "Accepted"), "True Accepted");
    if plan.sa("new", "ResolvedRefs").starts_with("False") {
        assert!(!plan.installed_at("a").contains(&"new"));
        assert!(!plan.installed_at("b").contains(&"new"));
        assert_eq!(
            plan.sa("new", "Programmed"),
            "False NotReady: something it names is missing: see condition ResolvedRefs"
        );
    }
    plan.sa("new", "ResolvedRefs")
}

#[test]
fn a_node_that_is_not_there() {
    assert_eq!(
        resolved(|world| world.sa("new").spec.destination.node = Some("c".into())),
        "False NodeNotFound: destination.node: there is no Node c"
    );
}

#[test]
fn everything_that_is_missing_is_named() {
    let edit = |world: &mut World| {
        let spec = &mut world.sa("new").spec;
        spec.destination.node = Some("c".into());
        spec.source.node = Some("d".into());
        spec.encryption = encryption("AES-CBC-128");
    };
    assert_eq!(
        resolved(edit),
        "False NodeNotFound: source.node: there is no Node d; destination.node: there is no Node c; Secret \
         keys in namespace esplanade, key enc: AES-CBC-128 takes a key of 16 bytes, this one has 32"
    );
}

#[test]
fn a_node_without_an_address() {
    assert_eq!(
        resolved(|world| {
            world.snapshot.nodes.push(mk_node("c", &[], &[]));
            world.sa("new").spec.destination.node = Some("c".into());
        }),
        "False NoAddress: destination.node: Node c has no address of type InternalIP"
    );
}

#[test]
fn a_node_without_an_address_of_the_family() {
    assert_eq!(
        resolved(|world| {
            world.snapshot.nodes.push(mk_node("c", &["fd00::3"], &[]));
            world.sa("new").spec.destination.node = Some("c".into());
        }),
        "False NoAddress: destination.node: Node c has no IPv4 address of type InternalIP, only fd00::3: if \
         both ends have an IPv6 address, write ipFamily: IPv6"
    );
}

#[test]
fn the_address_of_a_node_is_to_be_written_as_the_node() {
    assert_eq!(
        resolved(|world| world.sa("new").spec.destination = address_end("10.0.0.2")),
        "False Invalid: destination.address 10.0.0.2 is Node b's: write destination: {node: b}"
    );
}

#[test]
fn the_address_family_follows_the_field_then_the_address_then_the_sources_first_address() {
    let ends = |edit: &dyn Fn(&mut World)| {
        let mut world = World::settled();
        world.snapshot.sas.push(mk_sa("new", "a", "b", 0x2001));
        edit(&mut world);
        let plan = world.plan();
        let sa =
            plan.node_states["a"].0.security_associations.iter().find(|sa| sa.name == "new").unwrap().clone();
        (sa.source.address, sa.destination.address)
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(ends(&|_| {}), pair("10.0.0.1", "10.0.0.2"));
    assert_eq!(
        ends(&|world| world.sa("new").spec.ip_family = Some(IpFamily::IPv6)),
        pair("fd00::1", "fd00::2")
    );
    assert_eq!(
        ends(&|world| world.sa("new").spec.destination = address_end("2001:db8::7")),
        pair("fd00::1", "2001:db8::7")
    );
    assert_eq!(ends(&|world| world.snapshot.nodes[0].addresses.reverse()), pair("fd00::1", "fd00::2"));
}

#[test]
fn a_secret_that_is_not_there_with_the_command_that_makes_it() {
    assert_eq!(
        resolved(|world| {
            let spec = &mut world.sa("new").spec;
            spec.encryption.as_mut().unwrap().key_secret_ref = Some(key("mine", "enc"));
            spec.integrity.as_mut().unwrap().key_secret_ref = key("mine", "auth");
        }),
        "False SecretNotFound: there is no Secret mine in namespace esplanade: write kubectl -n esplanade \
         create secret \
         generic mine --from-file=enc=FILE --from-file=auth=FILE (enc: 32 bytes, auth: 32 bytes)"
    );
}

#[test]
fn a_key_that_is_not_in_the_secret() {
    assert_eq!(
        resolved(|world| world.sa("new").spec.integrity.as_mut().unwrap().key_secret_ref = key("keys", "mac")),
        "False SecretNotFound: Secret keys in namespace esplanade has no key mac (32 bytes wanted), it has \
         auth, enc: add it, or correct keySecretRef.key"
    );
    assert_eq!(
        resolved(|world| {
            world.snapshot.secrets.insert("empty".into(), mk_secret(&[]));
            world.sa("new").spec.integrity.as_mut().unwrap().key_secret_ref = key("empty", "mac");
        }),
        "False SecretNotFound: Secret empty in namespace esplanade has no key mac (32 bytes wanted), it has \
         nothing: add it, or correct keySecretRef.key"
    );
}

/// The condition of an IpsecSA with this encryption key.
fn with_key(algorithm: &str, bytes: &[u8]) -> String {
    resolved(|world| {
        world.snapshot.secrets.insert("mine".into(), mk_secret(&[("enc", bytes)]));
        let spec = &mut world.sa("new").spec;
        spec.encryption = encryption(algorithm);
        spec.encryption.as_mut().unwrap().key_secret_ref = Some(key("mine", "enc"));
        if algorithm.contains("GCM") {
            spec.integrity = None;
            spec.allow_insecure_manual_aead = true;
        }
    })
}

#[test]
fn a_key_of_the_wrong_length_with_both_lengths() {
    assert_eq!(
        with_key("AES-CBC-256", b"short"),
        "False InvalidKey: Secret mine in namespace esplanade, key enc: AES-CBC-256 takes a key of 32 \
         bytes, this one has 5"
    );
    assert_eq!(
        with_key("AES-GCM-16-256", ENCRYPTION_KEY),
        "False InvalidKey: Secret mine in namespace esplanade, key enc: AES-GCM-16-256 takes a key of 36 \
         bytes (4 of them salt), this one has 32"
    );
    assert_eq!(with_key("AES-CBC-256", INTEGRITY_KEY), "True ResolvedRefs");
}

#[test]
fn a_key_that_would_fit_without_its_newline() {
    let prefix = "False InvalidKey: Secret mine in namespace esplanade, key enc: AES-CBC-256 takes a key of \
     32 bytes, this one has";
    let newline = "it ends in a newline, write the file without one";
    for (end, length) in [("\n", 33), ("\r\n", 34)] {
        let bytes = [ENCRYPTION_KEY.as_slice(), end.as_bytes()].concat();
        assert_eq!(with_key("AES-CBC-256", &bytes), format!("{prefix} {length}: {newline}"));
    }
    assert_eq!(with_key("AES-CBC-256", b"short\n"), format!("{prefix} 6"));
}

#[test]
fn a_key_that_is_written_as_text() {
    let prefix = "False InvalidKey: Secret mine in namespace esplanade, key enc: AES-CBC-128 takes a key of \
     16 bytes, this one has";
    assert_eq!(
        with_key("AES-CBC-128", b"000102030405060708090a0b0c0d0e0f\n"),
        format!("{prefix} 33: it looks like the key in hex, write its raw bytes")
    );
    assert_eq!(
        with_key("AES-CBC-128", b"AAECAwQFBgcICQoLDA0ODw=="),
        format!("{prefix} 24: it looks like the key in base64, write its raw bytes")
    );
}

#[test]
fn null_encryption_takes_no_key() {
    assert_eq!(
        resolved(|world| {
            world.sa("new").spec.encryption = encryption("NULL");
            world.sa("new").spec.encryption.as_mut().unwrap().key_secret_ref = None;
        }),
        "True ResolvedRefs"
    );
}
