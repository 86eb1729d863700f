//! Where the API is served.

use std::io::ErrorKind;
use std::net::SocketAddr;

use anyhow::Result;
use tokio::net::TcpListener;

use crate::cli::ListenArgs;
use crate::report::Advised;

/// How the API's address is chosen.
pub(crate) const ADDR: &str = "--addr or ADDR=, such as 127.0.0.1:8081";

/// Refuses an address that other machines can reach, unless they shall.
pub(crate) fn check(args: &ListenArgs) -> Result<()> {
    if args.addr.ip().is_loopback() || args.listen_public {
        return Ok(());
    }
    Err(Advised::new(
        format!("{} can be reached from other machines", args.addr),
        "serve on 127.0.0.1 and put a proxy with TLS in front of it; or, when that is what you want, add --listen-public",
    )
    .into())
}

/// Takes the port, before any long work. `flag` is how another address is chosen.
pub(crate) async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let (message, remedy) = match error.kind() {
            ErrorKind::AddrInUse => (
                format!("another program serves on {address}"),
                format!("end it (`ss -ltnp` names it), or choose another address with {flag}"),
            ),
            ErrorKind::AddrNotAvailable => (
                format!("{} is no address of this machine", address.ip()),
                "choose one of those that `ip address` shows".to_owned(),
            ),
            ErrorKind::PermissionDenied => (
                format!("the port of {address} is reserved"),
                "choose one above 1023".to_owned(),
            ),
            _ => (
                format!("nothing can be served on {address}"),
                format!("choose another address with {flag}"),
            ),
        };
        Advised::new(message, remedy).because(error).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(address: &str, listen_public: bool) -> ListenArgs {
        ListenArgs {
            addr: address.parse().unwrap(),
            listen_public,
        }
    }

    #[test]
    fn other_machines_are_let_in_only_when_asked() {
        assert!(check(&args("127.0.0.1:1", false)).is_ok());
        assert!(check(&args("[::1]:1", false)).is_ok());
        assert!(check(&args("0.0.0.0:1", false)).is_err());
        assert!(check(&args("0.0.0.0:1", true)).is_ok());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_says_so() {
        let taken = bind("127.0.0.1:0".parse().unwrap(), ADDR).await.unwrap();
        let error = bind(taken.local_addr().unwrap(), ADDR).await.unwrap_err();
        assert!(
            error.to_string().contains("another program serves on"),
            "{error}"
        );
    }
}
