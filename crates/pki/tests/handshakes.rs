//! Who is let in by whom: real handshakes between real configurations, in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use wrenn_pki::{AGENT_VALID, Authority, Error, HostName, Identity};
use wrenn_testkit::identity::{agent, nameless};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn server(authority: &Authority) -> Identity {
    authority.identify_server(SystemTime::now(), DAY).unwrap()
}

/// Shakes hands until one side refuses, or a word has gone in both directions.
fn meet(client: ClientConfig, server: ServerConfig, dialled: &str) -> Result<(), rustls::Error> {
    let mut client = ClientConnection::new(Arc::new(client), name(dialled).server_name()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    client.writer().write_all(b"ping").unwrap();
    server.writer().write_all(b"pong").unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let mut word = [0; 4];
    server.reader().read_exact(&mut word).unwrap();
    client.reader().read_exact(&mut word).unwrap();
    assert_eq!(client.alpn_protocol(), Some(wrenn_pki::ALPN));
    assert_eq!(
        client.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    Ok(())
}

fn refused(met: Result<(), rustls::Error>, by: &str) {
    let error = met.expect_err("it is let in").to_string();
    assert!(error.contains(by), "{error}");
}

#[test]
fn a_control_plane_and_its_agents_meet_by_each_name() {
    let authority = Authority::new(SystemTime::now()).unwrap();
    // As it comes back from the database.
    let authority = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
    let names = ["10.0.0.5", "fd00::5", "host-a.example.org"];
    let agent = agent(&authority, &names, SystemTime::now());
    for dialled in names {
        let (client, server) = (server(&authority).client_config(), agent.server_config());
        meet(client.unwrap(), server.unwrap(), dialled).unwrap();
    }
    let left = agent
        .expires_at()
        .duration_since(SystemTime::now())
        .unwrap();
    assert!(left > AGENT_VALID - DAY && left <= AGENT_VALID, "{left:?}");
    for dialled in ["10.0.0.6", "host-b.example.org", "example.org"] {
        let (client, server) = (server(&authority).client_config(), agent.server_config());
        refused(
            meet(client.unwrap(), server.unwrap(), dialled),
            "not valid for name",
        );
    }
}

#[test]
fn an_identity_is_good_for_one_side_alone() {
    let authority = Authority::new(SystemTime::now()).unwrap();
    let agent = || agent(&authority, &["host-a"], SystemTime::now());
    // A stolen agent's identity commands no other agent.
    let thief = agent().client_config().unwrap();
    refused(
        meet(thief, agent().server_config().unwrap(), "host-a"),
        "usage for client authentication",
    );
    // And nobody is an agent with the control plane's.
    let (client, fake) = (server(&authority), server(&authority));
    let met = meet(
        client.client_config().unwrap(),
        fake.server_config().unwrap(),
        "host-a",
    );
    assert!(met.is_err());
}

#[test]
fn another_authority_is_nobody() {
    let now = SystemTime::now();
    let (ours, theirs) = (Authority::new(now).unwrap(), Authority::new(now).unwrap());
    let stranger = server(&theirs).client_config().unwrap();
    let agent_of = |authority| agent(authority, &["host-a"], now).server_config().unwrap();
    refused(meet(stranger, agent_of(&ours), "host-a"), "UnknownIssuer");
    let client = server(&ours).client_config().unwrap();
    refused(meet(client, agent_of(&theirs), "host-a"), "UnknownIssuer");
    // Nor is who shows nothing.
    let silent = nameless(server(&ours).client_config().unwrap());
    refused(meet(silent, agent_of(&ours), "host-a"), "no certificates");
}

#[test]
fn what_has_expired_is_refused_on_either_side() {
    let now = SystemTime::now();
    let authority = Authority::new(now - 3 * AGENT_VALID).unwrap();
    let old = agent(&authority, &["host-a"], now - AGENT_VALID - DAY);
    assert!(old.expires_at() < now);
    let client = server(&authority).client_config().unwrap();
    refused(
        meet(client, old.server_config().unwrap(), "host-a"),
        "expired",
    );
    let agent = agent(&authority, &["host-a"], now);
    let late = authority.identify_server(now - 3 * DAY, DAY).unwrap();
    refused(
        meet(
            late.client_config().unwrap(),
            agent.server_config().unwrap(),
            "host-a",
        ),
        "expired",
    );
}

#[test]
fn of_a_request_the_key_is_taken_and_nothing_else() {
    let authority = Authority::new(SystemTime::now()).unwrap();
    let names = [name("host-a")];
    let certify = |csr: &str| authority.certify_agent(csr, &names, SystemTime::now());
    let csr = |params: &CertificateParams, key: &KeyPair| {
        params.serialize_request(key).unwrap().pem().unwrap()
    };
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::default();
    greedy.subject_alt_names = vec![SanType::DnsName("other-host".try_into().unwrap())];
    greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    greedy.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let certificate = certify(&csr(&greedy, &key)).unwrap();
    let pem = [
        &key.serialize_pem(),
        &certificate,
        authority.certificate_pem(),
    ]
    .map(ToString::to_string);
    let identity = Identity::from_pem(&pem.concat()).unwrap();
    let met = |dialled| {
        let client = server(&authority).client_config().unwrap();
        meet(client, identity.server_config().unwrap(), dialled)
    };
    met("host-a").unwrap();
    refused(met("other-host"), "not valid for name");
    let agent = agent(&authority, &["host-b"], SystemTime::now());
    refused(
        meet(
            identity.client_config().unwrap(),
            agent.server_config().unwrap(),
            "host-b",
        ),
        "usage for client authentication",
    );

    let plain = CertificateParams::default();
    for kind in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let other = csr(&plain, &KeyPair::generate_for(kind).unwrap());
        assert!(
            matches!(certify(&other), Err(Error::Request(_))),
            "{kind:?}"
        );
    }
    let good = csr(&plain, &key);
    let changed = good.replacen("MI", "MJ", 1);
    for wrong in [
        "",
        "x",
        authority.certificate_pem(),
        &changed,
        &good[..good.len() / 2],
    ] {
        assert!(matches!(certify(wrong), Err(Error::Request(_))), "{wrong}");
    }
}

#[test]
fn what_is_no_identity_is_refused() {
    let authority = Authority::new(SystemTime::now()).unwrap();
    let (one, other) = (server(&authority), server(&authority));
    let (key, rest) = one
        .to_pem()
        .split_at(one.to_pem().find("-----BEGIN C").unwrap());
    for wrong in [
        "",
        key,
        rest,
        &format!("{key}{}", authority.certificate_pem()),
    ] {
        let refused = Identity::from_pem(wrong).unwrap_err();
        assert!(matches!(refused, Error::Identity(_)), "{refused}");
    }
    // Another's key.
    let (_, foreign) = other
        .to_pem()
        .split_at(other.to_pem().find("-----BEGIN C").unwrap());
    let mixed = Identity::from_pem(&format!("{key}{foreign}")).unwrap();
    assert!(matches!(mixed.server_config(), Err(Error::Tls(_))));
    assert!(Authority::from_pem(authority.certificate_pem(), "no key").is_err());
    assert!(Authority::from_pem("no certificate", &authority.key_pem()).is_err());
}
